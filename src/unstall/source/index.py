"""Project-wide look-ups by name: subclasses, callers, assignments from outside."""

from __future__ import annotations

from functools import cached_property

from unstall.source import facts as f
from unstall.source.project import Project


def _last(facts: f.FileFacts, expr: int) -> str:
    while expr >= 0:
        entry = facts.exprs[expr]
        if entry[0] == "s":
            expr = entry[1]
        elif entry[0] == "a":
            return str(entry[2])
        elif entry[0] in "nv":
            return str(entry[1])
        else:
            break
    return ""


def called_names(facts: f.FileFacts) -> dict[str, list[int]]:
    """The calls of one file by the last name of what is called."""
    found: dict[str, list[int]] = {}
    for number, call in enumerate(facts.calls):
        name = _last(facts, call.func)
        if name:
            found.setdefault(name, []).append(number)
    return found


class Index:
    """Each table is built when it is first asked for."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def children(self, name: str) -> list[tuple[int, int]]:
        """Classes that name ``name`` as a base, under its own name."""
        return self._children.get(name, [])

    def callers(self, name: str) -> list[tuple[int, int]]:
        """Calls of anything with this last name: file and number of the call."""
        return self._callers.get(name, [])

    def assignments(self, attribute: str) -> list[tuple[int, tuple[str, int, int, int]]]:
        """Assignments to this attribute of something that is not ``self``."""
        return self._assignments.get(attribute, [])

    @cached_property
    def properties(self) -> frozenset[str]:
        """Every name that is a property somewhere."""
        return frozenset(
            func.name
            for n in range(len(self.project.paths))
            for func in self.project.facts(n).functions
            if func.flags & f.PROPERTY
        )

    @cached_property
    def _children(self) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for number in range(len(self.project.paths)):
            facts = self.project.facts(number)
            for at, row in enumerate(facts.classes):
                for base in row.bases:
                    name = _last(facts, base)
                    if name:
                        found.setdefault(name, []).append((number, at))
        return found

    @cached_property
    def _callers(self) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for number in range(len(self.project.paths)):
            for name, calls in called_names(self.project.facts(number)).items():
                found.setdefault(name, []).extend((number, call) for call in calls)
        return found

    @cached_property
    def _assignments(self) -> dict[str, list[tuple[int, tuple[str, int, int, int]]]]:
        found: dict[str, list[tuple[int, tuple[str, int, int, int]]]] = {}
        for number in range(len(self.project.paths)):
            for row in self.project.facts(number).outer:
                found.setdefault(row[0], []).append((number, row))
        return found
