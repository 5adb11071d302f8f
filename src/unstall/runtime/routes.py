"""Routes as the observer can use them: which functions serve which, and what a raw path is called."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from unstall.runtime.evidence import Line

    Row = tuple[str, str, int, int, str, str]
    """File, function, first and last line, label (``GET /items/{id}``), pattern of the path."""

ROUTES = 3000


def rows_of(app: Any) -> list[Row]:
    """The table of an app's routes: Starlette's and FastAPI's, mounted ones included. Empty for others."""
    while not hasattr(app, "routes") and hasattr(app, "app"):
        app = app.app
    rows: list[Row] = []
    _add_routes(rows, getattr(app, "routes", None), "", 0)
    return rows[:ROUTES]


def _add_routes(rows: list[Row], routes: Any, prefix: str, depth: int) -> None:
    for route in list(routes or ()) if depth < 5 else ():
        path = prefix + str(getattr(route, "path", ""))
        below = getattr(route, "routes", None)
        if below:
            _add_routes(rows, below, path, depth + 1)
            continue
        endpoint = getattr(route, "endpoint", None)
        if endpoint is None:
            continue
        pattern = getattr(getattr(route, "path_regex", None), "pattern", "")
        pattern = pattern if not prefix else ""
        methods = getattr(route, "methods", None)
        names = sorted(methods - {"HEAD"} or methods) if methods else ["WEBSOCKET"]
        functions = [endpoint, *_dependencies(getattr(route, "dependant", None), 0)]
        for name in names:
            for function in functions:
                row = _row(function, f"{name} {path}", pattern)
                if row is not None:
                    rows.append(row)


def _dependencies(dependant: Any, depth: int) -> Iterable[Any]:
    for below in getattr(dependant, "dependencies", ()) if depth < 20 else ():
        yield below.call
        yield from _dependencies(below, depth + 1)


def _row(function: Any, label: str, pattern: str) -> Row | None:
    for _ in range(10):
        inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
        if inner is None:
            break
        function = inner
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    last = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
    return code.co_filename, code.co_name, code.co_firstlineno, last, label, pattern


class RouteTable:
    """Answers for stacks and raw paths, from the rows that the app has published."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._patterns: list[tuple[str, Any, str]] | None = None
        self._labels: dict[str, str] = {}

    def load(self, rows: list[Row] | None) -> None:
        """Take newly published rows; None keeps the old."""
        if rows is not None:
            self._rows, self._patterns = rows, None
            self._labels.clear()

    def find(self, stack: Sequence[Line], in_flight: Sequence[str]) -> tuple[str | None, str | None]:
        """The route whose endpoint or dependency is on the stack, where only one such is in flight."""
        on_stack = {
            label
            for path, line, function, _ in stack
            for file, name, first, last, label, _ in self._rows
            if file == path and name == function and first <= line <= last
        }
        if not on_stack:
            return None, None
        serving = on_stack.intersection(self.label(text) for text in in_flight)
        return (serving.pop(), "table") if len(serving) == 1 else (None, None)

    def label(self, text: str) -> str:
        """``GET /items/7`` as ``GET /items/{id}``; as it is where no route matches."""
        known = self._labels.get(text)
        if known is None:
            if len(self._labels) > 1000:
                self._labels.clear()
            known = self._labels[text] = self._match(text)
        return known

    def _match(self, text: str) -> str:
        method, _, path = text.partition(" ")
        if self._patterns is None:
            self._patterns = _compiled(self._rows)
        for name, pattern, label in self._patterns:
            if name == method and pattern.match(path):
                return label
        return text


def _compiled(rows: list[Row]) -> list[tuple[str, Any, str]]:
    """Loaded at the first stall only: the healthy observer needs no regular expressions."""
    import re

    compiled: dict[str, tuple[str, Any, str]] = {}
    for _, _, _, _, label, pattern in rows:
        if pattern and label not in compiled:
            compiled[label] = (label.partition(" ")[0], re.compile(pattern), label)
    return list(compiled.values())
