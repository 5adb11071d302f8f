"""What a test may do, from the ini file, its folder, its marker."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from unstall.errors import BadInput
from unstall.model import Finding


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one test. ``allow`` has rule codes and patterns over calls, as ``UNS104`` and ``requests.*``;
    ``budget_s`` is the longest time for which it may block the loop, None for any."""

    enabled: bool = True
    allow: tuple[str, ...] = ()
    budget_s: float | None = None

    def allows(self, finding: Finding) -> bool:
        """True where this call may block here."""
        return any(matches(pattern, finding) for pattern in self.allow)


def matches(pattern: str, finding: Finding) -> bool:
    """True where a rule's code, a call's path or a pattern over either means this finding."""
    name = finding.primitive.name
    spoken = name.replace("()", "")
    return any(fnmatch.fnmatchcase(said, pattern) for said in (finding.rule, name, spoken, f"{spoken}()"))


@dataclass(frozen=True, slots=True)
class Folder:
    """Settings of a folder of tests, by its path from the project's root."""

    path: str
    enabled: bool | None = None
    allow: tuple[str, ...] = ()
    budget_s: float | None = None

    def holds(self, path: str) -> bool:
        """True for a file of tests below the folder, or for the file itself."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/") or self.path in ("", ".")


def seconds_of(text: str, where: str) -> float | None:
    """A time in seconds; None where nothing is said.

    Raises:
        BadInput: it is no number, or below nothing.
    """
    if not text.strip():
        return None
    try:
        value = float(text.strip().removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise BadInput(f"{where} should be a number of seconds, as 0.5, not {text.strip()!r}")
    return value


def folders_of(lines: Iterable[str]) -> tuple[Folder, ...]:
    """Read ``tests/legacy = off`` and ``tests/slow = allow UNS103 requests.*; budget 2``.

    Raises:
        BadInput: a line says something else; the message says what can be said.
    """
    return tuple(_folder(line) for line in lines if line.strip())


def _folder(line: str) -> Folder:
    path, equals, said = line.partition("=")
    folder = Folder(path.strip().strip("/"))
    if not equals or not said.strip():
        raise BadInput(f"unstall_directories: {line.strip()!r} says nothing", "as in `tests/legacy = off`")
    for clause in said.split(";"):
        word, *rest = clause.split()
        if word in ("on", "off") and not rest:
            folder = replace(folder, enabled=word == "on")
        elif word == "allow" and rest:
            folder = replace(folder, allow=folder.allow + tuple(rest))
        elif word == "budget" and len(rest) == 1:
            folder = replace(folder, budget_s=seconds_of(rest[0], "budget in unstall_directories"))
        else:
            raise BadInput(
                f"unstall_directories: cannot read {clause.strip()!r} for {folder.path}",
                "say on, off, allow CALL..., or budget SECONDS, separated by `;`",
            )
    return folder


def in_folder(terms: Terms, folders: Iterable[Folder], path: str) -> Terms:
    """The terms of a file of tests: the outermost folder speaks first, what is allowed adds up."""
    for folder in sorted(folders, key=lambda f: len(f.path)):
        if folder.holds(path):
            terms = Terms(
                terms.enabled if folder.enabled is None else folder.enabled,
                terms.allow + folder.allow,
                terms.budget_s if folder.budget_s is None else folder.budget_s,
            )
    return terms


def marked(terms: Terms, markers: Iterable[Any]) -> Terms:
    """The terms with what ``@pytest.mark.unstall(...)`` says, the outermost marker first.

    Raises:
        BadInput: the marker says something that it cannot.
    """
    for marker in markers:
        said = dict(marker.kwargs)
        allow = said.pop("allow", ())
        allow = (allow,) if isinstance(allow, str) else tuple(allow)
        enabled, budget = said.pop("enabled", terms.enabled), said.pop("budget", terms.budget_s)
        said.pop("reason", None)
        if said or not all(isinstance(a, str) for a in (*marker.args, *allow)) or not isinstance(enabled, bool):
            raise BadInput(
                "@pytest.mark.unstall takes allow, reason, enabled and budget",
                'as in @pytest.mark.unstall(allow="requests.get", reason="the last one, being moved")',
            )
        budget_s = None if budget is None else seconds_of(str(budget), "budget of @pytest.mark.unstall")
        terms = Terms(enabled, terms.allow + tuple(marker.args) + allow, budget_s)
    return terms
