"""Puts functions in the place of others, C types' methods included, then takes all of them back."""

from __future__ import annotations

import ctypes
import gc
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any

_ABSENT = object()


class Patches:
    """What was replaced, in order, so that it can be undone in reverse."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._replaced: dict[int, tuple[Any, Any]] = {}

    def attribute(self, holder: Any, name: str, replacement: Any) -> bool:
        """Replace ``holder.name``, a module's or a class's own; False where that cannot be done."""
        before = vars(holder).get(name, _ABSENT)
        try:
            setattr(holder, name, replacement)
        except (AttributeError, TypeError):
            return before is not _ABSENT and isinstance(holder, type) and self._slot(holder, name, replacement)
        if not isinstance(holder, type) and before is not _ABSENT:
            self._replaced[id(before)] = before, replacement

        def undo() -> None:
            if vars(holder).get(name) is not replacement:
                return
            if before is _ABSENT:
                delattr(holder, name)
            else:
                setattr(holder, name, before)

        self._undo.append(undo)
        return True

    def _slot(self, cls: type, name: str, replacement: Any) -> bool:
        """Replace a method of a C type that refuses attributes, in the dictionary that the interpreter looks it up in."""
        names = _names_of(cls)
        if names is None:
            return False
        before = names[name]
        names[name] = replacement
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))

        def undo() -> None:
            if names.get(name) is replacement:
                names[name] = before
                ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))

        self._undo.append(undo)
        return True

    def aliases(self, package: str | None = None) -> None:
        """Replace what modules took by ``from time import sleep`` before; of one package only where one is named."""
        if not self._replaced:
            return
        for name, module in list(sys.modules.items()):
            if package is not None and name != package and not name.startswith(package + "."):
                continue
            if not inspect.ismodule(module) or name.startswith("unstall.pytest_plugin"):
                continue
            for key, value in list(vars(module).items()):
                known = self._replaced.get(id(value))
                if known is not None and known[0] is value:
                    self.attribute(module, key, known[1])

    def undo(self) -> None:
        """Put back everything that is still in place."""
        while self._undo:
            self._undo.pop()()
        self._replaced.clear()


def _names_of(cls: type) -> dict[str, Any] | None:
    """The dictionary behind a type's read-only view of it; None where the interpreter does not show it."""
    if sys.implementation.name != "cpython":
        return None
    behind = gc.get_referents(cls.__dict__)
    return behind[0] if len(behind) == 1 and isinstance(behind[0], dict) else None


def resolved(path: Iterable[str]) -> Any:
    """What a dotted path names among the modules that are loaded; None where it names nothing yet. Imports nothing."""
    names = list(path)
    for end in range(len(names), 0, -1):
        value: Any = sys.modules.get(".".join(names[:end]))
        if value is not None:
            for name in names[end:]:
                value = inspect.getattr_static(value, name, None)
                if isinstance(value, staticmethod | classmethod):
                    value = value.__func__
            return value
    return None
