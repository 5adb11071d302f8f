"""Which files a project has, and which of them an import means."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from unstall.source.facts import FileFacts, Outline

SKIPPED_DIRS = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "venv",
        "env",
        ".env",
        "node_modules",
        "__pycache__",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        "site-packages",
        "dist-packages",
        "build",
        "dist",
        ".eggs",
        ".unstall_cache",
    ]
)
TEST_DIRS = frozenset({"tests", "test", "testing"})
_LARGEST_FILE = 4_000_000
"""Bytes; a larger file is generated, and is counted as not read."""


def find_sources(root: Path, exclude: Iterable[str] = (), tests: bool = False) -> tuple[list[str], int]:
    """Paths of Python files below ``root``, sorted, with ``/``; and how many test files were left out."""
    excluded, found, left_out = tuple(exclude), [], 0
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if excluded and _matches(path, excluded):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED_DIRS and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                    pending.append(path)
            elif entry.name.endswith(".py") and entry.is_file():
                if not tests and is_test(path):
                    left_out += 1
                else:
                    found.append(path)
    return sorted(found), left_out


def is_test(path: str) -> bool:
    """True for files that only a test-suite runs."""
    *folders, name = path.split("/")
    return (
        name.startswith("test_")
        or name.endswith(("_test.py", "_tests.py"))
        or name in ("conftest.py", "noxfile.py")
        or not TEST_DIRS.isdisjoint(folders)
    )


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatch(path, p)
        or fnmatch.fnmatch(name, p)
        or path == p.rstrip("/")
        or path.startswith(p.rstrip("/") + "/")
        for p in patterns
    )


def read_source(path: str | Path) -> bytes | None:
    """The bytes of a file; None where it cannot be read or is too large to be written by people."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read() if os.fstat(file.fileno()).st_size <= _LARGEST_FILE else None
    except OSError:
        return None


class Project:
    """The files by number, and what an import in one of them means.

    ``around`` names the folders down to the root, the root last: where the root itself is a package, as in
    ``unstall check app``, its files import each other as ``app.api``.
    """

    def __init__(
        self,
        paths: list[str],
        load: Callable[[int], FileFacts],
        outlines: list[Outline],
        around: tuple[str, ...] = (),
    ) -> None:
        self.paths = paths
        self._around = around
        self.outlines = outlines
        self._load = load
        self._facts: dict[int, FileFacts] = {}
        self._modules: dict[str, int] = {}
        self._packages: set[str] = set()
        self._folders: set[str] = set()
        self._tops: dict[str, list[str]] = {}
        self._located: dict[tuple[str, str], str | None] = {}
        for number, path in enumerate(paths):
            self._index(number, path)
        for folder in sorted(self._folders):
            parent, _, name = folder.rpartition("/")
            if folder in self._packages and parent not in self._packages:
                self._tops.setdefault(name, []).append(parent)

    def _index(self, number: int, path: str) -> None:
        stem = path.removesuffix(".py")
        folder, _, name = stem.rpartition("/")
        if name == "__init__":
            self._modules[folder] = number
            self._packages.add(folder)
        else:
            self._modules.setdefault(stem, number)
        while folder and folder not in self._folders:
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]

    def facts(self, number: int) -> FileFacts:
        """The facts of one file, loaded when first asked for."""
        facts = self._facts.get(number)
        if facts is None:
            facts = self._facts[number] = self._load(number)
        return facts

    def outline(self, number: int) -> Outline:
        """What is known of a file without unpacking it."""
        return self.outlines[number]

    def module(self, stem: str) -> int | None:
        """The file of a module by its path without ``.py``; a package's is its ``__init__``."""
        return self._modules.get(stem)

    def is_folder(self, stem: str) -> bool:
        """True where a package or plain folder of that path holds modules."""
        return stem in self._folders

    def stem(self, number: int) -> str:
        """A module's path without ``.py`` or ``/__init__``."""
        stem = self.paths[number].removesuffix(".py")
        return stem.removesuffix("/__init__") if stem.endswith("/__init__") else stem

    def absolute(self, number: int, dotted: str) -> str | None:
        """The path of module ``dotted`` as imported in file ``number``; None where it is not of this project."""
        folder = self.paths[number].rpartition("/")[0]
        key = folder, dotted
        if key not in self._located:
            self._located[key] = self._locate(folder, dotted.split("."))
        found = self._located[key]
        if found is not None and self._modules.get(found) == number and found not in self._packages:
            return None  # nobody imports himself: ``wikipedia.py`` beside other plug-ins means the library of that name
        return found

    def _locate(self, folder: str, names: list[str]) -> str | None:
        top = names[0]
        if top in sys.stdlib_module_names or top == "__future__":
            return None
        tail = "/".join(names)
        at = folder
        while True:
            # A package's own folder is not on the path, the folder around it is.
            if at not in self._packages:
                base = f"{at}/{top}" if at else top
                if base in self._modules or (base in self._folders and self._holds(at, tail)):
                    return f"{at}/{tail}" if at else tail
            if not at:
                break
            at = at.rpartition("/")[0]
        roots = self._tops.get(top, [])
        fitting = [r for r in roots if self._holds(r, tail)] or roots
        if not fitting:
            return self._below_root(names)
        nearest = max(fitting, key=lambda r: (len(os.path.commonprefix([r, folder])), -len(r)))
        return f"{nearest}/{tail}" if nearest else tail

    def _below_root(self, names: list[str]) -> str | None:
        for depth in range(1, min(len(names), len(self._around) + 1)):
            tail = "/".join(names[depth:])
            if tuple(names[:depth]) == self._around[-depth:] and self._holds("", tail):
                return tail
        return None

    def _holds(self, at: str, tail: str) -> bool:
        path = f"{at}/{tail}" if at else tail
        return path in self._modules or path in self._folders or path.rpartition("/")[0] in self._modules

    def relative(self, number: int, dotted: str, level: int) -> str | None:
        """The path of ``from ..dotted``, None where it climbs out of the project."""
        folder = self.paths[number].rpartition("/")[0]
        for _ in range(level - 1):
            if not folder:
                return None
            folder = folder.rpartition("/")[0]
        tail = dotted.replace(".", "/")
        return f"{folder}/{tail}".strip("/") if tail else folder
