"""``# unstall: ignore[UNS102] reason`` comments: which findings they silence, which silence nothing."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unstall.model import Finding

Ignore = tuple[int, tuple[str, ...], str]
"""Line, rules (none means every rule) and the reason given."""

_COMMENT = re.compile(r"#\s*unstall:\s*ignore(?:\[([^\]]*)\])?[ \t:,-]*(.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UnusedIgnore:
    """A comment that silences nothing any more."""

    path: str
    line: int
    rules: tuple[str, ...]


def ignores_in(text: str) -> tuple[Ignore, ...]:
    """The comments of one file. A comment alone on its line speaks for the next line of code."""
    if "unstall:" not in text:
        return ()
    found: list[Ignore] = []
    waiting: list[tuple[tuple[str, ...], str]] = []
    code_lines: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            line = token.start[0]
            if token.type == tokenize.COMMENT:
                match = _COMMENT.match(token.string)
                if match is not None:
                    rules = tuple(rule.strip().upper() for rule in (match[1] or "").split(",") if rule.strip())
                    if line in code_lines:
                        found.append((line, rules, match[2].strip()))
                    else:
                        waiting.append((rules, match[2].strip()))
            elif token.type not in (
                tokenize.NL,
                tokenize.NEWLINE,
                tokenize.INDENT,
                tokenize.DEDENT,
                tokenize.ENDMARKER,
            ):
                code_lines.update(range(line, token.end[0] + 1))
                found.extend((line, rules, reason) for rules, reason in waiting)
                waiting.clear()
    except (tokenize.TokenError, SyntaxError):
        pass
    return tuple(found)


def suppressed(
    findings: Iterable[Finding], ignores: Mapping[str, tuple[Ignore, ...]]
) -> tuple[tuple[Finding, ...], int, tuple[UnusedIgnore, ...]]:
    """Findings that remain, how many were silenced, and the comments that silenced nothing.

    A comment works on the line of the blocking call and on the call in the coroutine that leads there; there it
    takes away that chain only.
    """
    remaining: list[Finding] = []
    silenced = 0
    used: set[tuple[str, int]] = set()
    for finding in findings:
        chains = []
        for chain in finding.chains:
            hit = next(
                (
                    (site.path, line)
                    for site in (finding.site, *(step.site for step in chain.steps))
                    for line, rules, _ in ignores.get(site.path, ())
                    if line == site.line and (not rules or finding.rule in rules)
                ),
                None,
            )
            if hit is None:
                chains.append(chain)
            else:
                used.add(hit)
        if not chains:
            silenced += 1
        elif len(chains) == len(finding.chains):
            remaining.append(finding)
        else:
            remaining.append(_with_chains(finding, tuple(chains)))
    unused = tuple(
        UnusedIgnore(path, line, rules)
        for path, rows in sorted(ignores.items())
        for line, rules, _ in rows
        if (path, line) not in used
    )
    return tuple(remaining), silenced, unused


def _with_chains(finding: Finding, chains: tuple[object, ...]) -> Finding:
    from dataclasses import replace

    return replace(finding, chains=chains)  # type: ignore[arg-type]
