"""What a type annotation promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unstall.source import facts as f
from unstall.source.origins import CHOICES, CONTAINERS, DEPENDS, MAPPINGS, SCALARS, TRANSPARENT
from unstall.source.values import Activation, Value, Values, union

if TYPE_CHECKING:
    from unstall.source.names import Resolver

_DEEPEST = 8

_LANGUAGE = frozenset(
    ["typing", "typing_extensions", "types", "builtins", "collections", "contextlib", "datetime", "decimal", "uuid"]
)
"""Modules whose classes are containers and scalars as Python means them."""


class Annotations:
    """Types to the values that stand for their instances."""

    def __init__(self, resolver: Resolver) -> None:
        self.r = resolver

    def instance(self, act: Activation, expr: int, depth: int = 0) -> Values:
        """Instances of a type; empty for types that say nothing, as ``Any`` or ``str``."""
        if expr < 0 or depth > _DEEPEST:
            return ()
        entry = act.facts.exprs[expr]
        match entry[0]:
            case "o":
                return union((), *[self.instance(act, e, depth + 1) for e in entry[1]])
            case "s":
                return self._generic(act, entry, depth)
            case "n" | "v":
                alias = self._alias(act, entry[1], depth)
                if alias is not None:
                    return alias
        return union((), *[self._of(value) for value in self.r.evaluate(act, expr)])

    def _of(self, value: Value) -> Values:
        if value[0] == "C":
            return (("I", value[1], value[2], False),)
        if value[0] == "O":
            last = _type_name(value[1])
            if last in SCALARS or last in CONTAINERS or last in MAPPINGS or value[1].startswith("typing."):
                return ()
            return (self.r.outside(value[1] + "()"),) if not value[1].endswith(")") else ()
        return (value,) if value[0] == "D" else ()

    def _alias(self, act: Activation, name: str, depth: int) -> Values | None:
        """``Alias = Annotated[...]``: the type that a name stands for, None where it is a class or import."""
        at: Activation | None = act
        bound: tuple[int, ...] | None = None
        while at is not None and bound is None:
            bound, found = at.func.names.get(name), at
            at = at.env
        if bound is None:
            found = self.r.activation(act.file, 0)
            bound = found.func.names.get(name)
        if not bound:
            return None
        entry = found.facts.exprs[bound[-1]] if bound[-1] >= 0 else ("",)
        if entry[0] in ("s", "o"):
            return self.instance(found, bound[-1], depth + 1)
        if entry[0] == "M":
            return self._imported_alias(found, entry, depth)
        return None

    def _imported_alias(self, act: Activation, entry: f.Expr, depth: int) -> Values | None:
        _, module, name, level = entry
        project = self.r.project
        stem = project.relative(act.file, module, level) if level else project.absolute(act.file, module)
        file = project.module(stem) if stem is not None else None
        if file is None or depth > _DEEPEST:
            return None
        return self._alias(self.r.activation(file, 0), name, depth + 1)

    def _generic(self, act: Activation, entry: f.Expr, depth: int) -> Values:
        found: list[Values] = []
        key = entry[2]
        inner = act.facts.exprs[key] if key >= 0 else ("",)
        arguments = (inner[1] if inner[0] == "t" else (key,)) or (-1,)
        for base in self.r.evaluate(act, entry[1]):
            name = base[1].rpartition(".")[2] if base[0] == "O" else ""
            own = _type_name(base[1]) if base[0] == "O" else ""
            if name == "Annotated":
                found.append(self._annotated(act, arguments, depth))
            elif name in CHOICES:
                found.extend(self.instance(act, e, depth + 1) for e in arguments)
            elif name in TRANSPARENT:
                found.append(self.instance(act, arguments[0], depth + 1))
            elif name in ("type", "Type"):
                found.append(
                    tuple(("C", v[1], v[2]) for v in self.instance(act, arguments[0], depth + 1) if v[0] == "I")
                )
            elif own in MAPPINGS:
                found.append((("X", self.instance(act, arguments[-1], depth + 1)),))
            elif own in CONTAINERS:
                found.append(self._container(act, name, arguments, depth))
            else:
                found.append(self._of(base))
        return union((), *found)

    def _container(self, act: Activation, name: str, arguments: tuple[int, ...], depth: int) -> Values:
        if name in ("Awaitable", "Coroutine"):
            return self.instance(act, arguments[-1], depth + 1)
        if name in ("tuple", "Tuple") and len(arguments) > 1:
            return (("T", tuple([self.instance(act, e, depth + 1) for e in arguments])),)
        inner = self.instance(act, arguments[0], depth + 1)
        return (("X", inner),) if inner else ()

    def _annotated(self, act: Activation, arguments: tuple[int, ...], depth: int) -> Values:
        for extra in arguments[1:]:
            found = self.depends(act, extra)
            if found is not None:
                return found or self.instance(act, arguments[0], depth + 1)
        return self.instance(act, arguments[0], depth + 1)

    def depends(self, act: Activation, expr: int) -> Values | None:
        """What ``Depends(f)`` injects; None where the expression is something else."""
        entry = act.facts.exprs[expr] if expr >= 0 else ("",)
        if entry[0] != "c":
            return None
        call = act.facts.calls[entry[1]]
        if not any(v[0] == "O" and v[1] in DEPENDS for v in self.r.evaluate(act, call.func)):
            return None
        target = call.args[0] if call.args else dict(call.keywords).get("dependency", -1)
        return self.r.results.injected(self.r.evaluate(act, target))


def _type_name(origin: str) -> str:
    """The last name of a type of the language itself; empty for a library's, which may be called ``Collection`` too."""
    root, dot, _ = origin.partition(".")
    return origin.rpartition(".")[2] if not dot or root in _LANGUAGE else ""
