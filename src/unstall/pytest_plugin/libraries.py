"""Wraps the catalogue's library calls as the libraries are imported, so that a mocked network hides none."""

from __future__ import annotations

import builtins
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from unstall.catalogue import Catalogue, Row
from unstall.pytest_plugin.chains import TEST_CLIENTS
from unstall.pytest_plugin.listening import Told, always, wrapped
from unstall.pytest_plugin.patches import Patches, resolved

_PACKERS = frozenset({"zipfile", "tarfile", "gzip", "bz2", "lzma"})
_PRIMITIVE_FAMILIES = frozenset({"sleep", "lock", "dns", "http", "remote", "sync-over-async", "database"})
_CHOKES = (("botocore.client.BaseClient._make_api_call", "boto3.client().get_object"),)
"""Methods that a library makes at run time all pass through one that is written down."""


def paths_of(row: Row) -> tuple[tuple[str, ...], str] | None:
    """Where to find what a row names: the path of its holder and the attribute; None where no path can say it."""
    path = row.pattern
    if "*" in path or "[]" in path or path.count("()") > 1:
        return None
    if "()" not in path:
        names = path.split(".")
        return tuple(names[:-1]) or ("builtins",), names[-1]
    cls, _, method = path.partition("()")
    names = cls.split(".")
    if len(names) < 2:
        return None
    return (tuple(names), method.removeprefix(".") or "__call__") if method.count(".") <= 1 else None


Place = tuple[tuple[str, ...], str, Row]
"""The path of a holder, the name of its attribute, the row that it is."""


class Libraries(MetaPathFinder):
    """Follows imports of the catalogue's libraries; with ``notes`` their short calls are wrapped too."""

    def __init__(self, catalogue: Catalogue, patches: Patches, notes: bool) -> None:
        self._catalogue, self._patches, self._notes = catalogue, patches, notes
        self._roots = catalogue.roots | {path.partition(".")[0] for path, _ in _CHOKES}
        self._left: dict[str, list[Place]] = {}
        self._seeking: set[str] = set()
        self._depth: dict[str, int] = defaultdict(int)

    def _places(self, root: str) -> list[Place]:
        """Where the rows of one library are to be found."""
        rows = (row for row in self._catalogue.rows_of(root) if row.when == "call" and _worth(row, self._notes))
        places = [(*place, row) for row in rows if (place := paths_of(row)) is not None]
        for path, origin in _CHOKES:
            known = self._catalogue.find(origin)
            if known is not None and path.startswith(root + "."):
                holder, _, name = path.rpartition(".")
                places.append((tuple(holder.split(".")), name, known))
        return places

    def install(self) -> None:
        """Wrap what is imported already; follow what will be."""
        for root in sorted(self._roots):
            if root in sys.modules or hasattr(builtins, root):
                self.wrap(root)
        sys.meta_path.insert(0, self)

    def uninstall(self) -> None:
        """Follow no more imports."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def wrap(self, root: str) -> None:
        """Wrap the rows of one library that can be found by now."""
        known = self._left.get(root)
        left = []
        for holder_path, name, row in self._places(root) if known is None else known:
            holder = resolved(holder_path)
            if not isinstance(holder, ModuleType | type) or not self._wrapped(holder, name, row):
                left.append((holder_path, name, row))
        self._left[root] = left
        self._patches.aliases(root)

    def _wrapped(self, holder: ModuleType | type, name: str, row: Row) -> bool:
        found = inspect.getattr_static(holder, name, None)
        original = getattr(found, "__func__", found)
        if isinstance(holder, ModuleType) and getattr(original, "__module__", None) == "unittest.mock":
            return False
        if not callable(original) or inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original):
            return found is not None
        if isinstance(original, type) or hasattr(original, "__wrapped__") and _is_ours(original):
            return True
        by_cpu = row.duration == "L" and (row.rule == "UNS108" or row.pattern.partition(".")[0] in _PACKERS)
        method = isinstance(holder, type) and not isinstance(found, staticmethod)
        waits = _waits(row, method) if method or row.unless else always
        replacement: Any = wrapped(Told(row.pattern, waits, by_cpu=by_cpu, library=True), original)
        if isinstance(found, staticmethod | classmethod):
            replacement = type(found)(replacement)
        if isinstance(holder, ModuleType):
            self._at_home(original, replacement)
        return self._patches.attribute(holder, name, replacement)

    def _at_home(self, original: Any, replacement: Any) -> None:
        """Replace a function where it was defined too: ``requests.api.get`` is ``requests.get``."""
        home = sys.modules.get(getattr(original, "__module__", None) or "")
        name = getattr(original, "__name__", "")
        if home is not None and vars(home).get(name) is original:
            self._patches.attribute(home, name, replacement)

    # --- following imports ---------------------------------------------------------------------------

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec that the other finders give, its loader followed."""
        root = fullname.partition(".")[0]
        if root not in self._roots or fullname in self._seeking:
            return None
        self._seeking.add(fullname)
        try:
            for finder in sys.meta_path:
                seek = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = seek(fullname, path, target) if seek and finder is not self else None
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _Followed(spec.loader, self, root)  # type: ignore[assignment]
                    return spec
        finally:
            self._seeking.discard(fullname)
        return None

    def executed(self, loader: Any, module: ModuleType, root: str) -> None:
        """Run a module; when the outermost of its library is done, wrap."""
        self._depth[root] += 1
        try:
            loader.exec_module(module)
        finally:
            self._depth[root] -= 1
        if not self._depth[root]:
            self.wrap(root)


class _Followed:
    """A loader that says when its module is there. It is gone from the module before that runs."""

    def __init__(self, loader: Any, libraries: Libraries, root: str) -> None:
        self._loader, self._libraries, self._root = loader, libraries, root

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec) if hasattr(self._loader, "create_module") else None

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._libraries.executed(self._loader, module, self._root)


def _worth(row: Row, notes: bool) -> bool:
    root = row.pattern.replace("(", ".").partition(".")[0]
    if row.duration == "0" or (row.duration == "S" and not notes):
        return False
    if root in sys.stdlib_module_names or root == "open":
        # Waits of the standard library are heard one floor below, and only where they would really wait.
        return row.family not in _PRIMITIVE_FAMILIES and row.duration != "U"
    return True


def _waits(row: Row, method: bool) -> Callable[[tuple[Any, ...], Mapping[str, Any]], bool]:
    def waits(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
        if method and arguments and any(c.__module__.startswith(TEST_CLIENTS) for c in type(arguments[0]).__mro__):
            return False
        return not row.excused(arguments[1:] if method else arguments, keywords)

    return waits


def _is_ours(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename.endswith("listening.py")
