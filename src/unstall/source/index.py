"""Project-wide look-ups by name: subclasses, callers, assignments from outside."""

from __future__ import annotations

from collections.abc import Container
from functools import cached_property

from unstall.source.facts import last_name
from unstall.source.project import Project

_MOST_FILES = 24
"""A name called in more files than this is too common to tell anything."""


class Index:
    """Each table is built from the outlines when it is first asked for."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._calls: dict[int, dict[str, list[int]]] = {}
        self.asked: set[str] = set()
        """Names whose callers, or assignments, were asked for: what other files say of them has been heeded."""
        self.asked_everywhere: set[str] = set()
        """Those of them that were asked for however common they are."""

    def children(self, name: str) -> list[tuple[int, int]]:
        """Classes that name ``name`` as a base, under its own name."""
        return self._children.get(name, [])

    def callers(
        self, name: str, most_files: int = _MOST_FILES, only: Container[int] | None = None
    ) -> list[tuple[int, int]]:
        """Calls of anything with this last name: file and number of the call; none for very common names.

        With ``only`` those in these files.
        """
        self.asked.add(name)
        if most_files > _MOST_FILES:
            self.asked_everywhere.add(name)
        files = self._called.get(name, ())
        if len(files) > most_files:
            return []
        looked_at = files if only is None else [file for file in files if file in only]
        return [(file, number) for file in looked_at for number in self._calls_in(file).get(name, ())]

    def assignments(self, attribute: str) -> list[tuple[int, tuple[str, int, int, int]]]:
        """Assignments to this attribute of something that is not ``self``."""
        self.asked.add(attribute)
        files = self._assigned.get(attribute, ())
        if len(files) > _MOST_FILES:
            return []
        return [(file, row) for file in files for row in self.project.facts(file).outer if row[0] == attribute]

    @cached_property
    def properties(self) -> frozenset[str]:
        """Every name that is a property somewhere."""
        return frozenset(name for n in range(len(self.project.paths)) for name in self.project.outline(n).properties)

    def _calls_in(self, file: int) -> dict[str, list[int]]:
        if file not in self._calls:
            facts = self.project.facts(file)
            found: dict[str, list[int]] = {}
            for number, call in enumerate(facts.calls):
                found.setdefault(last_name(facts, call.func), []).append(number)
            self._calls[file] = found
        return self._calls[file]

    @cached_property
    def _children(self) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for file in range(len(self.project.paths)):
            for name, at in self.project.outline(file).bases:
                found.setdefault(name, []).append((file, at))
        return found

    @cached_property
    def _called(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for file in range(len(self.project.paths)):
            for name in self.project.outline(file).called:
                found.setdefault(name, []).append(file)
        return found

    @cached_property
    def _assigned(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for file in range(len(self.project.paths)):
            for name in self.project.outline(file).outer:
                found.setdefault(name, []).append(file)
        return found
