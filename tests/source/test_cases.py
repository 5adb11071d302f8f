"""Every small app of tests/cases/check gives exactly the chains that are written beside its code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unstall.source.check import Options, check

CASES = Path(__file__).parents[1] / "cases" / "check"
EXPECTED = re.compile(r"# expect (.+)")


def expected(root: Path) -> set[tuple[str, int, str, str]]:
    found = set()
    for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            match = EXPECTED.search(line)
            rule = ""
            for one in match[1].split("; ") if match else ():
                code, colon, chain = one.partition(": ")
                rule, chain = (code, chain) if colon else (rule, one)
                found.add((name, number, rule, chain))
    return found


def reported(root: Path) -> set[tuple[str, int, str, str]]:
    report = check(root, Options(cache=False))
    return {
        (
            finding.site.path,
            finding.site.line,
            finding.rule,
            " > ".join([*(step.site.qualname for step in chain.steps), chain.primitive.name]),
        )
        for finding in report.findings
        for chain in finding.chains
    }


@pytest.mark.parametrize("name", sorted(p.name for p in CASES.iterdir() if p.suffix != ".md" and p.name[0] != "_"))
def test_a_case_gives_exactly_the_chains_written_in_it(name: str) -> None:
    assert reported(CASES / name) == expected(CASES / name)


def test_the_cases_expect_something() -> None:
    assert sum(len(expected(path)) for path in CASES.iterdir() if path.suffix != ".md") >= 48
