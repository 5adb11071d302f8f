"""What a value is known to be: plain tuples, so that they can be compared, counted and kept on disk.

==============================  ==================================================================
``("O", origin)``               something of a library, by how it came to be: ``requests.Session().get``
``("M", stem)``                 a module or package of the project
``("C", file, class)``          a class of the project
``("I", file, class, exact)``   its instance; not exact where a subclass may stand in its place
``("F", file, function, self, env, raw)``  a function, what it is bound to, the activation it was made in
``("S", file, class, self)``    ``super()``
``("P", value, args, literals)``  ``functools.partial``; or a container and the name of its method
``("X", values)``               a container of these
``("T", positions)``            a tuple, position by position
``("R", activation)``           a coroutine that was not awaited
``("G", activation)``           a generator that was not iterated
``("W", activation)``           what a ``@contextmanager`` function gives
==============================  ==================================================================
"""

from __future__ import annotations

from typing import Any

from unstall.source.facts import FileFacts, FunctionFacts

Value = tuple[Any, ...]
Values = tuple[Value, ...]

DEEP = "FRGWXTP"
"""Kinds that may hold an activation, or values that do."""
MOST_VALUES = 10
MOST_HELD = 64
"""Values in a container and in the containers inside it: trees of displays would grow without end."""
DEEPEST_ACTIVATION = 5


class Activation:
    """A function with what is known of its self, its closure and its arguments; there is one of each."""

    __slots__ = ("binds", "depth", "env", "facts", "file", "func", "function", "memo", "me")

    def __init__(
        self,
        file: int,
        function: int,
        facts: FileFacts,
        me: Value | None,
        env: Activation | None,
        binds: tuple[tuple[int, Values], ...],
        depth: int,
    ) -> None:
        self.file, self.function, self.facts = file, function, facts
        self.func: FunctionFacts = facts.functions[function]
        self.me, self.env, self.binds, self.depth = me, env, binds, depth
        self.memo: dict[Any, tuple[Values, bool]] = {}

    @property
    def qualname(self) -> str:
        """The function's name with those around it."""
        return self.func.qualname

    @property
    def flags(self) -> int:
        """The function's flags."""
        return self.func.flags

    def bound(self, position: int) -> Values:
        """The values a parameter was given, empty where unknown."""
        for at, values in self.binds:
            if at == position:
                return values
        return ()


def union(*many: Values) -> Values:
    """All values once, in order, at most `MOST_VALUES`."""
    if len(many) == 1:
        return many[0]
    if len(many) == 2 and not many[0] and len(many[1]) < 2:
        return many[1]
    known = [values for values in many if values]
    if not known:
        return ()
    if len(known) == 1 and len(known[0]) == 1:
        return known[0]
    seen: dict[Value, None] = {}
    for values in known:
        for value in values:
            seen[value] = None
    return tuple(seen)[:MOST_VALUES]


def elements(value: Value) -> Values:
    """What is inside a container."""
    if value[0] == "X":
        inner: Values = value[1]
        return inner
    if value[0] == "T":
        return union((), *value[1])
    return ()


def bounded(container: Value) -> Value:
    """A container, without the containers inside it where together they hold too much."""
    if _size(container) <= MOST_HELD:
        return container
    if container[0] == "T":
        return ("T", tuple([tuple(v for v in values if v[0] not in "XT") for values in container[1]]))
    return ("X", tuple([v for v in container[1] if v[0] not in "XT"]))


def _size(value: Value) -> int:
    if value[0] == "X":
        return 1 + sum(map(_size, value[1]))
    if value[0] == "T":
        return 1 + sum(_size(v) for values in value[1] for v in values)
    return 1


def depth_of(value: Value) -> int:
    """How deep activations hold each other in a value."""
    kind = value[0]
    if kind == "F":
        inner = depth_of(value[3]) if value[3] is not None else 0
        return max(inner, value[4].depth if value[4] is not None else 0)
    if kind in "RGW":
        return int(value[1].depth)
    if kind in "XT":
        return max((depth_of(v) for v in elements(value)), default=0)
    return 1 + depth_of(value[1]) if kind == "P" else 0


def is_useful(values: Values) -> bool:
    """True where one of the values can lead to a call worth following."""
    return any([value[0] not in "XT" or is_useful(elements(value)) for value in values])
