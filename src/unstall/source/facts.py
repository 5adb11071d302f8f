"""What is kept of one file: its names, calls and values as plain tuples, small enough to keep on disk.

An expression is a number into ``FileFacts.exprs``; equal expressions of one file share it. -1 is a value nobody knows.

========================  =======================================================================
``("n", name)``           whatever ``name`` means in this scope
``("v", name, indexes)``  the assignments of a local name that reach this use
``("a", e, attr)``        attribute
``("c", call)``           result of a call, a number into ``FileFacts.calls``
``("w", e)``              awaited
``("s", e, key)``         subscript
``("k", constant)``       literal
``("f", function)``       a def or lambda, a number into ``FileFacts.functions``
``("C", class)``          a class, a number into ``FileFacts.classes``
``("m", module)``         ``import module``
``("M", module, name, level)``  ``from module import name``
``("d", values)``         dict display
``("t", elements)``       list, tuple or set display
``("o", choices)``        one of several
``("i", e)``              an element of an iteration
``("u", e, position)``    one of several unpacked
``("e", e, is_async)``    what ``with`` binds
``("T", annotation)``     something declared with this annotation
``("p", position)``       a parameter
``("g", function, e)``    ``e`` as that function's names have it, put into a scope around it
``("x", e)``              what ``except`` or a pattern binds, looked at but not known
========================  =======================================================================
"""

from __future__ import annotations

from typing import Any, NamedTuple

SCHEMA = 6
"""Rises whenever the shape of the facts or what is put in them changes; caches of another number are dropped."""

ASYNC, GENERATOR, PROPERTY, STATIC, CLASSMETHOD, ABSTRACT, LAMBDA, OVERLOAD, MANAGER, CLASS_BODY = (
    1 << bit for bit in range(10)
)
"""Flags of a function. MANAGER is `@contextmanager` or `@asynccontextmanager`; CLASS_BODY a class's own scope."""

POSITIONAL, KEYWORD_ONLY, STAR, DOUBLE_STAR = range(4)

Expr = tuple[Any, ...]


class Param(NamedTuple):
    """A parameter: annotation and default are expressions."""

    name: str
    annotation: int
    default: int
    kind: int


class Call(NamedTuple):
    """A call in source. ``awaited`` is also true where the result goes to ``gather``, ``wait_for`` or their like."""

    func: int
    args: tuple[int, ...]
    keywords: tuple[tuple[str, int], ...]
    line: int
    column: int
    end_column: int
    awaited: bool
    function: int
    starred: bool


class Effect(NamedTuple):
    """Something a body does that may block: ``kind`` is call, iterate, with or attribute; ``ref`` the call or expression.

    A ``short`` effect is no action: a ``with`` block that awaits nothing, from ``line`` to ``end_column`` (a line too).
    """

    kind: str
    line: int
    column: int
    end_column: int
    ref: int


class FunctionFacts(NamedTuple):
    """A function, lambda, class body or (number 0) the module's own body."""

    name: str
    qualname: str
    line: int
    flags: int
    parent: int
    owner: int
    params: tuple[Param, ...]
    decorators: tuple[tuple[int, int], ...]
    names: dict[str, tuple[int, ...]]
    effects: tuple[Effect, ...]
    returns: tuple[int, ...]
    yields: tuple[int, ...]
    annotation: int


class ClassFacts(NamedTuple):
    """A class: its bases, its body's function, and what methods assign to attributes of self."""

    name: str
    qualname: str
    line: int
    bases: tuple[int, ...]
    body: int
    attributes: dict[str, tuple[tuple[int, int], ...]]
    decorators: tuple[tuple[int, int], ...]
    abstract: bool


class FileFacts(NamedTuple):
    """One file. ``outer`` are assignments to attributes of other objects: attribute, receiver, function, value."""

    exprs: tuple[Expr, ...]
    functions: tuple[FunctionFacts, ...]
    classes: tuple[ClassFacts, ...]
    calls: tuple[Call, ...]
    outer: tuple[tuple[str, int, int, int], ...]
    stars: tuple[tuple[str, int], ...]
    ignores: tuple[tuple[int, tuple[str, ...], str], ...]
    lines: int
    error: str


class Outline(NamedTuple):
    """What is asked of every file of a project; the rest of a file is unpacked only where a chain may pass.

    ``coroutines``, ``routed`` (decorated as endpoints are) and ``bases`` (name of the base, class) hold numbers;
    ``called``, ``outer`` and ``properties`` hold names.
    """

    coroutines: tuple[int, ...]
    routed: tuple[int, ...]
    bases: tuple[tuple[str, int], ...]
    called: tuple[str, ...]
    outer: tuple[str, ...]
    properties: tuple[str, ...]
    ignores: tuple[tuple[int, tuple[str, ...], str], ...]
    functions: int
    lines: int
    error: str


ROUTE_NAMES = frozenset(
    [
        "get",
        "post",
        "put",
        "delete",
        "patch",
        "head",
        "options",
        "trace",
        "route",
        "api_route",
        "websocket",
        "websocket_route",
        "view",
        "http",
    ]
)
"""Names of decorators that frameworks register endpoints with."""


Plain = tuple[Any, ...]
"""A ``FileFacts`` of bare tuples all the way down, as it is read, kept and sent to other processes."""


def last_name(facts: FileFacts, expr: int) -> str:
    """``c`` of ``a.b.c`` or ``c[T]``, empty for other expressions."""
    return _last_name(facts.exprs, expr)


def _last_name(exprs: tuple[Expr, ...], expr: int) -> str:
    while expr >= 0:
        entry = exprs[expr]
        kind = entry[0]
        if kind == "a":
            return str(entry[2])
        if kind != "s":
            return str(entry[1]) if kind in "nv" else ""
        expr = entry[1]
    return ""


def outline(plain: Plain) -> Outline:
    """The outline of a file."""
    exprs, functions, classes, calls, outer, _, ignores, lines, error = plain
    coroutines, routed, properties = [], [], []
    for at, (name, _, _, flags, _, _, _, decorators, *_) in enumerate(functions):
        if flags & ASYNC:
            coroutines.append(at)
        if flags & PROPERTY:
            properties.append(name)
        if decorators and _is_routed(exprs, calls, decorators):
            routed.append(at)
    bases = [(_last_name(exprs, base), at) for at, row in enumerate(classes) for base in row[3]]
    return Outline(
        tuple(coroutines),
        tuple(routed),
        tuple([(name, at) for name, at in bases if name]),
        tuple(dict.fromkeys([_last_name(exprs, call[0]) for call in calls])),
        tuple(dict.fromkeys([row[0] for row in outer])),
        tuple(properties),
        ignores,
        len(functions) - 1,
        lines,
        error,
    )


def _is_routed(exprs: tuple[Expr, ...], calls: tuple[Any, ...], decorators: tuple[tuple[int, int], ...]) -> bool:
    for expr, _ in decorators:
        entry = exprs[expr] if expr >= 0 else ("",)
        if _last_name(exprs, calls[entry[1]][0] if entry[0] == "c" else expr) in ROUTE_NAMES:
            return True
    return False


def unreadable(error: str, lines: int) -> Plain:
    """The facts of a file that does not parse."""
    body: Plain = ("<module>", "", 1, 0, -1, -1, (), (), {}, (), (), (), -1)
    return (), (body,), (), (), (), (), (), lines, error


def from_plain(plain: Plain, properties: frozenset[str] | None = None) -> FileFacts:
    """The facts by name. Attributes that are no property anywhere in the project may be left out."""
    exprs, functions, classes, calls, *rest = plain
    make = tuple.__new__
    kept = properties if properties is not None else {e[2] for e in exprs if e[0] == "a"}
    built = [
        make(
            FunctionFacts,
            (
                *row[:6],
                tuple([make(Param, p) for p in row[6]]),
                *row[7:9],
                tuple([make(Effect, e) for e in row[9] if e[0] != "attribute" or exprs[e[4]][2] in kept]),
                *row[10:],
            ),
        )
        for row in functions
    ]
    return FileFacts(
        exprs,
        tuple(built),
        tuple([make(ClassFacts, c) for c in classes]),
        tuple([make(Call, c) for c in calls]),
        *rest,
    )
