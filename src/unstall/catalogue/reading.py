"""Reads the catalogue's TOML files into facts that are not yet indexed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from unstall.catalogue.patterns import listed, rooted
from unstall.catalogue.rows import Condition, Offload, Row, Use

USES: tuple[Use, ...] = ("call", "iterate", "with")
_ENDS = re.compile(r"[.(\[]")
_DUNDERS = {"call": "", "iterate": ".__iter__", "with": ".__enter__"}


@dataclass(slots=True)
class Facts:
    """All that the files say. ``rows`` and ``rewrites`` are kept by the first name of their patterns."""

    rows: dict[str, list[tuple[str, Row]]] = field(default_factory=dict)
    rewrites: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    bases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    offloads: list[tuple[str, Offload]] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    unproved: list[str] = field(default_factory=list)

    def add_row(self, pattern: str, row: Row) -> None:
        """File a row under the first name of its pattern."""
        for spelling in rooted(pattern):
            self.rows.setdefault(root_of(spelling), []).append((spelling, row))

    def add_rewrite(self, line: str) -> None:
        """File ``pattern = path``: an origin that begins with the pattern is really that path."""
        pattern, _, target = (part.strip() for part in line.partition("="))
        for spelling in rooted(pattern):
            self.rewrites.setdefault(root_of(spelling), []).append((spelling, target))


def root_of(origin: str) -> str:
    """The first name of an origin path or pattern."""
    end = _ENDS.search(origin)
    return origin if end is None else origin[: end.start()]


def read() -> Facts:
    """Read every TOML file of this package."""
    facts = Facts()
    for resource in sorted(files(__package__).iterdir(), key=lambda entry: entry.name):
        if resource.name.endswith(".toml"):
            add_file(facts, resource.name.removesuffix(".toml"), tomllib.loads(resource.read_text("utf-8")))
    return facts


def add_file(facts: Facts, family: str, document: dict[str, Any]) -> None:
    """Add one parsed file. Its top level has the family's defaults and one table a library."""
    defaults = {key: value for key, value in document.items() if not isinstance(value, dict | list)}
    for library, table in document.items():
        if isinstance(table, dict):
            _add_library(facts, family, library, defaults | table)
    for line in _lines(document.get("modules", "")):
        module, _, distribution = line.partition(" = ")
        facts.modules[module] = distribution
    facts.unproved += listed(document.get("unproved", ""))
    for offload in document.get("offload", []):
        for pattern in listed(offload["names"]):
            facts.offloads.append((pattern, _offload(offload)))


def _add_library(facts: Facts, family: str, library: str, table: dict[str, Any]) -> None:
    for line in _lines(table.get("alias", "")) + _lines(table.get("returns", "")):
        facts.add_rewrite(line)
    for line in _lines(table.get("inherits", "")):
        child, _, parents = line.partition("=")
        facts.bases[child.strip()] = tuple(parent.strip() for parent in parents.split(","))
    defaults = {
        key: value for key, value in table.items() if key in ("rule", "why", "duration", "remedy", "transform", "gil")
    }
    defaults |= {"family": family, "library": library}
    for pattern in listed(table.get("cheap", "")):
        facts.add_row(pattern, Row("", table["rule"], "", "0", **_said(defaults, ("family", "library"))))
    for group in table.get("rows", []):
        _add_group(facts, defaults | group)


def _add_group(facts: Facts, group: dict[str, Any]) -> None:
    said = _said(group, ("remedy", "transform", "family", "library"))
    unless = tuple(Condition.parse(word) for word in listed(group.get("unless", "")))
    for use in USES:
        if not group.get(use):
            continue
        row = Row(
            "",
            group["rule"],
            group["why"],
            group["duration"],
            releases_gil=group.get("gil"),
            when=use,
            unless=unless,
            **said,
        )
        for pattern in listed(group[use]):
            facts.add_row(pattern + _DUNDERS[use], row)


def _said(table: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: table[key] for key in keys if key in table}


def _lines(text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _offload(table: dict[str, Any]) -> Offload:
    return Offload("", table["where"], table.get("position"), table.get("keyword", ""), table.get("decorator", False))
