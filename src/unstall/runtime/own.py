"""Which source files belong to the application."""

from __future__ import annotations

import os
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAB_APPS = os.path.join(PACKAGE, "lab", "apps") + os.sep
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class OwnFiles:
    """Tells the application's files from everything else, and remembers the answers.

    ``roots`` are folders whose files are the application's even where they are installed packages; ``below`` are
    those in which all but installed packages is its own; ``bin_`` holds the environment's scripts.
    """

    def __init__(
        self, roots: tuple[str, ...] = (), below: tuple[str, ...] | None = None, bin_: str | None = None
    ) -> None:
        self.roots = tuple(os.path.join(os.path.abspath(root), "") for root in roots)
        self.below = started_in() if below is None else below
        self.bin = os.path.join(sys.prefix, "bin", "") if bin_ is None else bin_
        self._known: dict[str, bool] = {}

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        known = self._known.get(path)
        if known is None:
            if len(self._known) > 5000:
                self._known.clear()
            known = self._known[path] = self._judge(os.path.abspath(path) if path[:1] != "<" else path)
        return known

    def _judge(self, path: str) -> bool:
        if path.startswith(LAB_APPS):
            return True
        if path.startswith(("<", PACKAGE + os.sep)):
            return False
        if path.startswith(self.roots):
            return True
        if (self.bin and path.startswith(self.bin)) or installed(path):
            return False
        return path.startswith(self.below)


def installed(path: str) -> bool:
    """True of the standard library and of what a package manager has put beside it."""
    return path.startswith(_STDLIB) or any(part in os.path.join(path, "") for part in _INSTALLED)


def started_in() -> tuple[str, ...]:
    """The folders a program was started in: the working folder, and the first of the module path."""
    folders: dict[str, None] = {}
    for folder in (_working_folder(), sys.path[0] if sys.path else ""):
        if folder:
            folders[os.path.join(os.path.abspath(folder), "")] = None
    return tuple(folders)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # removed meanwhile
        return ""
