"""Which findings a change brings in: two reports, held against each other function by function.

A finding is the same as one before when the call stands in the same function, and a chain is the same when it comes
from the same entrance. Functions are followed through moves and new names by what is written in them, so moving a file
or giving a function another name brings nothing in, while a new entrance to an old call does.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import cache
from typing import TypeVar

from unstall.model import CallChain, Finding, Site

Function = tuple[str, str]
"""Path and qualified name."""
T = TypeVar("T")
_SAME_NAME, _SAME_FILE, _ANYWHERE = 0.3, 0.5, 0.6
"""How alike two functions are when one is the other, moved or under a new name: 1.0 is line for line."""


class Side:
    """The findings of one revision, with its source. ``read`` gives the text of a path, None where there is none."""

    def __init__(self, findings: Sequence[Finding], read: Callable[[str], str | None]) -> None:
        self.findings = findings
        self._read = read
        self.lines = cache(self._lines)
        self.functions = cache(self._functions)

    def _lines(self, path: str) -> list[str]:
        return (self._read(path) or "").splitlines()

    def _functions(self, path: str) -> dict[str, list[str]]:
        """The lines of every function of a file, by qualified name; the whole file under the empty name."""
        lines = [line.strip() for line in self.lines(path)]
        found = {"": lines}
        try:
            module = ast.parse("\n".join(self.lines(path)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return found

        def visit(node: ast.AST, outer: str) -> None:
            for child in ast.iter_child_nodes(node):
                name = outer
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    name = f"{outer}.{child.name}" if outer else child.name
                    first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                    found.setdefault(name, [line for line in lines[first - 1 : child.end_lineno] if line])
                visit(child, name)

        visit(module, "")
        return found

    def has(self, function: Function) -> bool:
        """True where this revision has the function."""
        return bool(self.lines(function[0])) and function[1] in self.functions(function[0])

    def body(self, function: Function) -> list[str]:
        """Its lines, without the space around them."""
        return self.functions(function[0]).get(function[1], [])

    def text(self, site: Site) -> str:
        """What is written at a site, to the end of its line."""
        lines = self.lines(site.path)
        return lines[site.line - 1][site.column - 1 :].strip() if site.line <= len(lines) else ""

    def used(self) -> dict[Function, None]:
        """Functions that hold a blocking call, or that are an entrance to one."""
        sites = (s for f in self.findings for s in (f.site, *(c.entrance.site for c in f.chains)))
        return dict.fromkeys(_function(site) for site in sites)


def brought_in(now: Side, before: Side) -> tuple[Finding, ...]:
    """The findings of ``now`` that ``before`` has not, each with those of its chains that are new."""
    was = _names_before(now, before)

    def place(site: Site) -> Function:
        return was.get(_function(site), _function(site))

    matched = _matched_findings(now, before, place)
    found = []
    for number, finding in enumerate(now.findings):
        other = matched.get(number)
        if other is None:
            found.append(finding)
            continue
        old = before.findings[other]
        known = _pair(
            [_chain_keys(chain, now, place) for chain in finding.chains],
            [_chain_keys(chain, before, _function) for chain in old.chains],
        )
        new = tuple(chain for at, chain in enumerate(finding.chains) if at not in known)
        if new:
            found.append(replace(finding, chains=new))
    return tuple(found)


def _function(site: Site) -> Function:
    return site.path, site.qualname


def _names_before(now: Side, before: Side) -> dict[Function, Function]:
    """For functions that are new by name: the one that they were, where one that is gone is much alike."""
    new = [f for f in now.used() if not before.has(f)]
    gone = [f for f in before.used() if not now.has(f)]
    alike = []
    for one in new:
        for other in gone:
            least = _SAME_NAME if one[1] == other[1] else _SAME_FILE if one[0] == other[0] else _ANYWHERE
            matcher = SequenceMatcher(None, now.body(one), before.body(other), autojunk=False)
            if matcher.real_quick_ratio() >= least and matcher.quick_ratio() >= least:
                ratio = matcher.ratio()
                if ratio >= least:
                    alike.append((ratio, one[1] == other[1], one, other))
    was: dict[Function, Function] = {}
    taken = set()
    for _, _, one, other in sorted(alike, key=lambda row: row[:2], reverse=True):
        if one not in was and other not in taken:
            was[one] = other
            taken.add(other)
    return was


def _matched_findings(now: Side, before: Side, place: Callable[[Site], Function]) -> dict[int, int]:
    """The number of the finding before, for each that was there: in the same function, or moved out of it as it stands."""

    def keys(finding: Finding, side: Side, at: Callable[[Site], Function]) -> tuple[Hashable, ...]:
        what = finding.rule, finding.primitive.name
        return (at(finding.site), what, side.text(finding.site)), (at(finding.site), what)

    matched = _pair([keys(f, now, place) for f in now.findings], [keys(f, before, _function) for f in before.findings])
    left = [n for n in range(len(before.findings)) if n not in set(matched.values())]
    for number, finding in enumerate(now.findings):
        if number in matched:
            continue
        entrances = {place(chain.entrance.site) for chain in finding.chains}
        for other in left:
            old = before.findings[other]
            if (
                (old.rule, old.primitive.name) == (finding.rule, finding.primitive.name)
                and before.text(old.site) == now.text(finding.site)
                and not entrances.isdisjoint(_function(chain.entrance.site) for chain in old.chains)
            ):
                matched[number] = other
                left.remove(other)
                break
    return matched


def _chain_keys(chain: CallChain, side: Side, place: Callable[[Site], Function]) -> tuple[Hashable, ...]:
    entrance, label = place(chain.entrance.site), chain.entrance.label
    first = side.text(chain.steps[0].site)
    return (entrance, label, first), (entrance, first), (entrance, label), (entrance,)


def _pair(ones: Sequence[tuple[Hashable, ...]], others: Sequence[tuple[Hashable, ...]]) -> dict[int, int]:
    """Pairs of equal things, one to one: by their first keys as far as these go, then by their second, and so on."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for tier in range(len(ones[0]) if ones else 0):
        free: dict[Hashable, list[int]] = defaultdict(list)
        for number in _others(range(len(others)), taken):
            free[others[number][tier]].append(number)
        for number in _others(range(len(ones)), pairs):
            candidates = free.get(ones[number][tier])
            if candidates:
                pairs[number] = candidates.pop(0)
                taken.add(pairs[number])
    return pairs


def _others(numbers: Iterable[T], taken: Iterable[T]) -> list[T]:
    taken = set(taken)
    return [number for number in numbers if number not in taken]
