"""Routes as the observer can use them: which functions serve which, and what a raw path is called."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from unstall.runtime.evidence import Line

    Row = tuple[str, str, int, int, str, str]
    """File, function, first and last line, label (``GET /items/{id}``), pattern of the path."""

ROUTES = 3000


def rows_of(app: Any) -> list[Row]:
    """The table of an app's routes; empty where its framework is not known."""
    from unstall.runtime.dialects import spots  # the observer reads rows only

    rows: list[Row] = []
    try:
        for spot in spots(app):
            pattern = pattern_of(spot.path)
            for name in spot.methods:
                label = f"{name} {spot.path}"
                found = [row for f in spot.functions if (row := _row(f, label, pattern)) is not None]
                rows += found or [("", "", 0, 0, label, pattern)]
            if len(rows) >= ROUTES:
                break
    except Exception:  # somebody else's data: what was read so far stands
        pass
    return rows[:ROUTES]


def pattern_of(path: str) -> str:
    """A regular expression for what a path stands for: ``/items/{id:int}`` or ``/items/<int:id>``."""
    import re

    # Starlette, FastAPI, Litestar and aiohttp write braces, aiohttp with a pattern inside; Quart and Django write <>.
    parameter = re.compile(r"\{[^{}:/]+(?::([^{}]*(?:\{[^{}]*\}[^{}]*)*))?\}|<(?:([a-z_]+)(?:\([^)]*\))?:)?[^<>/]+>")
    pattern, at = "^", 0
    for found in parameter.finditer(path):
        pattern += re.escape(path[at : found.start()])
        pattern += _CONVERTED.get(found[1] or found[2] or "str", "[^/]+")
        at = found.end()
    return pattern + re.escape(path[at:]) + "$"


_CONVERTED = {"path": ".*", "int": "-?[0-9]+", "float": "-?[0-9]+(?:\\.[0-9]+)?"}


def _row(function: Any, label: str, pattern: str) -> Row | None:
    if isinstance(function, type):  # a class as a dependency
        function = vars(function).get("__init__")
    elif not any(hasattr(function, name) for name in ("__code__", "__wrapped__", "__func__")):
        function = vars(type(function)).get("__call__")
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
        self._known: set[str] | None = None

    def load(self, rows: list[Row] | None) -> None:
        """Take newly published rows; None keeps the old."""
        if rows is not None:
            self._rows, self._patterns, self._known = rows, None, None
            self._labels.clear()

    def __contains__(self, label: object) -> bool:
        """Whether some route is called so."""
        if self._known is None:
            self._known = {row[4] for row in self._rows}
        return label in self._known

    def find(self, stack: Sequence[Line], in_flight: Sequence[str] | None) -> tuple[str | None, str | None]:
        """The route whose endpoint or dependency is on the stack, where only one such is in flight.

        Where it is not known what is in flight (None), the outermost of them must serve one route only.
        """
        if in_flight is None:
            return self._outermost(stack)
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

    def _outermost(self, stack: Sequence[Line]) -> tuple[str | None, str | None]:
        for path, line, function, _ in reversed(stack):
            labels = {
                label
                for file, name, first, last, label, _ in self._rows
                if file == path and name == function and first <= line <= last
            }
            if labels:
                return (labels.pop(), "table") if len(labels) == 1 else (None, None)
        return None, None

    def name(self, route: str) -> str:
        """The label of a request that is called by its raw path so far; one that was routed keeps its name."""
        return route if "{" in route or "<" in route else self.label(route)

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
