"""Whether an edit stays inside its file: what other files may know of a file, held against what they knew before."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from unstall.source import facts as f

_EXPRESSIONS = {
    "a": (1,), "w": (1,), "s": (1, 2), "i": (1,), "u": (1,), "e": (1,), "T": (1,), "g": (2,), "x": (1,),
}  # fmt: skip
"""Which fields of an expression are expressions."""
_LISTS = "dto"
"""Expressions whose first field is a list of expressions."""


class Contained(NamedTuple):
    """An edit after which every value that others can have of a file is found as before, but for some results.

    ``results`` are functions that may now give back something else, ``bodies`` those that do something else. ``gone``
    and ``come`` are the calls, by number in the facts before and after, that somebody may have looked back at.
    """

    results: frozenset[int]
    bodies: frozenset[int]
    gone: tuple[int, ...]
    come: tuple[int, ...]


class Asked(NamedTuple):
    """What was asked of all files: who calls a name or assigns an attribute, and what the names of modules are."""

    names: frozenset[str]
    everywhere: frozenset[str]
    """Names whose callers were asked for however common they are."""
    members: frozenset[tuple[str, str]]
    """Path of a module and name in it."""


def contained(old: f.FileFacts, new: f.FileFacts, stem: str, asked: Asked) -> Contained | None:
    """How far an edit reaches within its file, None where it may reach further."""
    numbers: dict[Any, int] = {}
    before, after = _Spelled(old, numbers), _Spelled(new, numbers)
    if old.error or new.error or old.stars != new.stars:
        return None
    if before.classes() != after.classes() or len(old.functions) != len(new.functions):
        return None
    results: set[int] = set()
    moved: set[int] = set()
    bodies: set[int] = set()
    for at, (one, other) in enumerate(zip(old.functions, new.functions, strict=True)):
        if before.signature(one) != after.signature(other):
            return None
        if before.results(one) != after.results(other):
            results.add(at)
        if before.effects(one) != after.effects(other):
            bodies.add(at)
        names = _moved_names(before, after, one, other)
        if names is None:
            return None
        added, rebound = names
        if at == 0 and (rebound or any((stem, name) in asked.members for name in added)):
            return None
        if rebound:
            moved.add(at)
    if moved:
        # What a local name stands for has changed: whoever gives it away by another way than its result is not followed.
        results |= {at for at in range(len(new.functions)) if _is_within(new, at, moved)}
        if any(_gives_away(facts, at, asked) for facts in (old, new) for at in results):
            return None
    if before.outer() != after.outer():
        return None
    gone, come = before.calls_beside(after, asked), after.calls_beside(before, asked)
    if any(f.last_name(old, old.calls[at].func) in asked.everywhere for at in gone):
        return None
    if any(f.last_name(new, new.calls[at].func) in asked.everywhere for at in come):
        return None
    return Contained(frozenset(results), frozenset(bodies | results | moved), gone, come)


def _moved_names(
    before: _Spelled, after: _Spelled, one: f.FunctionFacts, other: f.FunctionFacts
) -> tuple[set[str], bool] | None:
    """Names that came or went, and whether one stands for something else now; None where somebody may mean them."""
    added: set[str] = set()
    rebound = False
    for name in one.names.keys() | other.names.keys():
        was, now = one.names.get(name), other.names.get(name)
        if name.endswith("[]"):
            rebound |= before.several(was or ()) != after.several(now or ())
        elif was is None or now is None:
            if one.flags & f.CLASS_BODY or name in (before if was is None else after).mentioned:
                return None
            added.add(name)
        elif before.several(was) != after.several(now):
            if one.flags & f.CLASS_BODY:
                return None
            rebound = True
    return added, rebound


def _is_within(facts: f.FileFacts, at: int, functions: set[int]) -> bool:
    while at > 0:
        if at in functions:
            return True
        at = facts.functions[at].parent
    return False


def _gives_away(facts: f.FileFacts, at: int, asked: Asked) -> bool:
    """True for a function that assigns attributes, or calls what looks back at its callers."""
    if any(function == at for row in facts.classes for rows in row.attributes.values() for function, _ in rows):
        return True
    if any(row[2] == at for row in facts.outer) or any(e[0] == "g" and e[1] == at for e in facts.exprs):
        return True
    return any(call.function == at and f.last_name(facts, call.func) in asked.names for call in facts.calls)


class _Spelled:
    """The expressions of one file spelled out, so that those of two versions can be compared."""

    def __init__(self, facts: f.FileFacts, numbers: dict[Any, int]) -> None:
        self.facts = facts
        self._numbers = numbers
        self._known: dict[int, Any] = {}

    @property
    def mentioned(self) -> set[str]:
        """Every name that is looked up."""
        return {entry[1] for entry in self.facts.exprs if entry[0] in "nv"}

    def one(self, expr: int) -> Any:
        """An expression without numbers that depend on what stands before it."""
        if expr < 0:
            return None
        known = self._known.get(expr)
        if known is None:
            entry = self.facts.exprs[expr]
            kind = entry[0]
            if kind == "c":
                known = ("c", self._call(self.facts.calls[entry[1]]))
            elif kind == "k":
                known = ("k", type(entry[1]).__name__, repr(entry[1]))
            elif kind in _LISTS:
                known = (kind, self.several(entry[1]))
            else:
                fields = _EXPRESSIONS.get(kind, ())
                known = tuple([self.one(item) if at in fields else item for at, item in enumerate(entry)])
            # What is equal has the same number in both versions: nested deeply, it would be slow to compare.
            known = self._known[expr] = self._numbers.setdefault(known, len(self._numbers))
        return known

    def several(self, exprs: tuple[int, ...]) -> tuple[Any, ...]:
        """Some expressions."""
        return tuple([self.one(expr) for expr in exprs])

    def _call(self, call: f.Call) -> tuple[Any, ...]:
        keywords = tuple([(name, self.one(value)) for name, value in call.keywords])
        return self.one(call.func), self.several(call.args), keywords, call.awaited, call.function, call.starred

    def signature(self, func: f.FunctionFacts) -> tuple[Any, ...]:
        """What a caller sees of a function before it runs."""
        params = tuple([(p.name, self.one(p.annotation), self.one(p.default), p.kind) for p in func.params])
        decorators = tuple([self.one(expr) for expr, _ in func.decorators])
        return (
            *(func.name, func.qualname, func.flags, func.parent, func.owner),
            *(params, decorators, self.one(func.annotation)),
        )

    def results(self, func: f.FunctionFacts) -> tuple[Any, ...]:
        """What a function gives back."""
        return self.several(func.returns), self.several(func.yields)

    def effects(self, func: f.FunctionFacts) -> list[Any]:
        """What a function does, wherever it stands."""
        return [
            (e.kind, self._call(self.facts.calls[e.ref]) if e.kind == "call" else self.one(e.ref))
            for e in func.effects
            if e.kind != "short"
        ]

    def classes(self) -> list[Any]:
        """All classes."""
        return [
            (
                *(row.name, row.qualname, self.several(row.bases), row.body, row.abstract),
                {
                    name: [(function, self.one(value)) for function, value in rows]
                    for name, rows in row.attributes.items()
                },
                tuple([self.one(expr) for expr, _ in row.decorators]),
            )
            for row in self.facts.classes
        ]

    def outer(self) -> list[Any]:
        """Assignments to attributes of other objects."""
        return [(name, self.one(receiver), at, self.one(value)) for name, receiver, at, value in self.facts.outer]

    def calls_beside(self, other: _Spelled, asked: Asked) -> tuple[int, ...]:
        """The calls of asked names that the other version does not have, one for one."""
        there = Counter(other._call(call) for call in other.facts.calls)
        found = []
        for number, call in enumerate(self.facts.calls):
            spelled = self._call(call)
            if there[spelled] > 0:
                there[spelled] -= 1
            elif (name := f.last_name(self.facts, call.func)) in asked.names or name == "__init__":
                found.append(number)  # `super().__init__(x)` is looked back at without being asked for by name
        return tuple(found)
