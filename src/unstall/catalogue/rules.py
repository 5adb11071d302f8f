"""The rules: one page each, read by ``unstall explain``, the documentation and SARIF."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from unstall.errors import BadInput

PARTS = ("What it does", "Why it stalls", "Example", "Use instead")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``code`` is ``UNS102``, ``name`` is ``blocking-http``, ``summary`` one sentence, the rest Markdown.

    ``page`` is the whole page as written.
    """

    code: str
    name: str
    summary: str
    what: str
    why: str
    example: str
    instead: str
    page: str


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule that has a page, by code."""
    entries = sorted(files(__package__).joinpath("rules").iterdir(), key=lambda entry: entry.name)
    return tuple(_rule(entry.read_text("utf-8")) for entry in entries if entry.name.endswith(".md"))


def rule(name: str) -> Rule:
    """The rule of this code or name, in any case. Raises ``BadInput`` where there is none."""
    wanted = name.strip().lower()
    for candidate in rules():
        if wanted in (candidate.code.lower(), candidate.name):
            return candidate
    known = ", ".join(candidate.code for candidate in rules())
    raise BadInput(f"no rule {name}", f"the rules are {known}")


def _rule(page: str) -> Rule:
    head, *sections = page.split("\n## ")
    title, _, summary = head.partition("\n")
    code, name = title.removeprefix("# ").split()
    texts = {heading: text.strip() for heading, _, text in (section.partition("\n") for section in sections)}
    what, why, example, instead = (texts[part] for part in PARTS)
    return Rule(code, name, summary.strip(), what, why, example, instead, page)
