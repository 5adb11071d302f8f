"""Writes docs/rules.md from the rule pages and the catalogue: ``python scripts/rules_page.py [--print]``."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from unstall import catalogue
from unstall.catalogue.rules import PARTS, Rule, rules

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rules.md"

HEADING = re.compile(rf"^(# UNS|## (?:{'|'.join(PARTS)})$)", flags=re.MULTILINE)

HEAD = """# Rules

Every rule names one kind of blocking call. `unstall explain UNS102` prints the same page. How bad a call is follows from how long it may take:
no bound (the network, a lock, a child process) is an error, 10 ms to seconds by design a warning, one
local system call a note that is off by default.

| rule | name | calls in the catalogue |
|---|---|--:|
"""


def text() -> str:
    """The whole page."""
    counts = Counter(row.rule for row in catalogue.load().rows() if row.duration != "0")
    table = [f"| [{rule.code}](#{anchor(rule)}) | {rule.name} | {counts[rule.code]:,} |" for rule in rules()]
    pages = [HEADING.sub(r"#\1", rule.page.rstrip()) + "\n" for rule in rules()]
    return HEAD + "\n".join(table) + "\n\n" + "\n".join(pages)


def anchor(rule: Rule) -> str:
    """GitHub's anchor of the rule's heading."""
    return f"{rule.code} {rule.name}".lower().replace(" ", "-")


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(text())
    else:
        PAGE.write_text(text(), "utf-8")
