"""Resolves a name, a receiver, an origin path: from an expression to the values it may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unstall.catalogue import Catalogue
from unstall.source import facts as f
from unstall.source.annotations import Annotations
from unstall.source.classes import Classes
from unstall.source.index import Index
from unstall.source.origins import BUILTINS
from unstall.source.project import Project
from unstall.source.results import Results
from unstall.source.values import (
    DEEP,
    DEEPEST_ACTIVATION,
    Activation,
    Value,
    Values,
    bounded,
    depth_of,
    elements,
    is_useful,
    union,
)

_MOST_ACTIVATIONS = 24
_MOST_WRAPPED = 1000
"""Functions that one decorator wraps: each has a wrapper of its own."""
_DEEPEST = 150
_LONGEST_ORIGIN = 12
_OPEN: tuple[Values, bool] = (), False
"""What is known of a value while it is being looked for, and where there is nothing to know."""
_CONTAINER_ACCESS = frozenset(
    ["get", "pop", "popitem", "values", "items", "setdefault", "__getitem__", "copy", "popleft"]
)


class Resolver:
    """Answers on demand and remembers. ``inferred`` turns true where an answer is not certain."""

    def __init__(self, project: Project, catalogue: Catalogue, index: Index | None = None) -> None:
        self.project, self.catalogue = project, catalogue
        self.index = index or Index(project)
        self.classes = Classes(self)
        self.results = Results(self)
        self.annotations = Annotations(self)
        self.inferred = False
        self._activations: dict[Any, Activation] = {}
        self._plain: dict[tuple[int, int], Activation] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._names: dict[tuple[str, str], tuple[Values, bool]] = {}
        self._depth = 0

    def forget(self) -> None:
        """Let go of every answer: activations and answers hold each other, and the collector may be off."""
        for act in self.activations():
            act.memo.clear()
        self._plain.clear()
        self._activations.clear()

    # --- activations ----------------------------------------------------------------------------------

    def activations(self) -> tuple[Activation, ...]:
        """All there are by now."""
        return (*self._plain.values(), *self._activations.values())

    def activation(
        self,
        file: int,
        function: int,
        me: Value | None = None,
        env: Activation | None = None,
        binds: tuple[tuple[int, Values], ...] = (),
    ) -> Activation:
        """The one activation for these facts; arguments are dropped where there are too many variants."""
        if not binds and me is None and env is None:
            plain = self._plain.get((file, function))
            if plain is None:
                plain = self._plain[file, function] = Activation(
                    file, function, self.project.facts(file), None, None, (), 1
                )
            return plain
        if binds:
            binds = tuple([bind for bind in binds if is_useful(bind[1])])
        depth = 1 + (env.depth if env else 0)
        for _, values in binds:
            for value in values:
                if value[0] in DEEP:
                    depth = max(depth, 1 + depth_of(value))
        wraps = len(binds) == 1 and len(binds[0][1]) == 1 and binds[0][1][0][0] == "F"
        most = _MOST_WRAPPED if wraps else _MOST_ACTIVATIONS
        if binds and (depth > DEEPEST_ACTIVATION or self._counts.get((file, function), 0) > most):
            binds, depth = (), 1 + (env.depth if env else 0)
        key = (file, function, me, env, binds)
        found = self._activations.get(key)
        if found is None:
            self._counts[file, function] = self._counts.get((file, function), 0) + 1
            found = Activation(file, function, self.project.facts(file), me, env, binds, depth)
            self._activations[key] = found
        return found

    def revived(
        self,
        file: int,
        function: int,
        me: Value | None,
        env: Activation | None,
        binds: tuple[tuple[int, Values], ...],
        depth: int,
    ) -> Activation:
        """An activation of an earlier run, whatever the number of its variants."""
        key = (file, function, me, env, binds)
        found = self._activations.get(key)
        if found is None:
            found = Activation(file, function, self.project.facts(file), me, env, binds, depth)
            self._activations[key] = found
        return found

    def count(self, variants: Mapping[tuple[int, int], int]) -> None:
        """Count the variants of functions that an earlier run had."""
        self._counts.update(variants)

    def members(self) -> frozenset[tuple[str, str]]:
        """The names of modules that were asked for: the module's path, and the name."""
        return frozenset(self._names)

    def method_activation(self, file: int, function: int, me: Value) -> Activation:
        """A method, or a function nested in one, of which only self is known."""
        func = self.project.facts(file).functions[function]
        if func.owner >= 0:
            return self.activation(file, function, me)
        return self.activation(
            file, function, None, self.method_activation(file, func.parent, me) if func.parent > 0 else None
        )

    def entry(self, file: int, function: int) -> Activation:
        """A function as the framework calls it: nothing is known of its arguments but what it declares."""
        func = self.project.facts(file).functions[function]
        me: Value | None = None
        if func.owner >= 0 and not func.flags & f.STATIC:
            kind = func.flags & f.CLASSMETHOD
            me = ("C", file, func.owner) if kind else ("I", file, func.owner, False)
        return self.activation(file, function, me, self._surroundings(file, func.parent))

    def _surroundings(self, file: int, parent: int) -> Activation | None:
        if parent <= 0:
            return None
        func = self.project.facts(file).functions[parent]
        if func.flags & f.CLASS_BODY:
            return self._surroundings(file, func.parent)
        return self.entry(file, parent)

    # --- evaluation -------------------------------------------------------------------------------------

    def tracked(self, compute: Callable[[], Values]) -> tuple[Values, bool]:
        """Compute, and tell whether the answer is inferred."""
        outer, self.inferred = self.inferred, False
        try:
            values = compute()
        finally:
            inner, self.inferred = self.inferred, outer
        return values, inner

    def evaluate(self, act: Activation, expr: int) -> Values:
        """The values an expression may have in an activation, empty where nothing is known."""
        if expr < 0:
            return ()
        known = act.memo.get(expr)
        if known is None:
            entry = act.facts.exprs[expr]
            if entry[0] == "k" or self._depth > _DEEPEST:
                return ()
            act.memo[expr] = _OPEN
            self._depth += 1
            outer, self.inferred = self.inferred, False
            try:
                values = _OPERATIONS[entry[0]](self, act, entry)
            finally:
                self._depth -= 1
                inner, self.inferred = self.inferred, outer
            known = act.memo[expr] = (values, inner) if values or inner else _OPEN
        if known[1]:
            self.inferred = True
        return known[0]

    def many(self, act: Activation, exprs: tuple[int, ...]) -> Values:
        """The values of several expressions."""
        if len(exprs) == 1:
            return union((), self.evaluate(act, exprs[0]))
        return union((), *[self.evaluate(act, e) for e in exprs])

    def on_name(self, act: Activation, entry: f.Expr) -> Values:
        return self.name(act, entry[1])

    def on_local(self, act: Activation, entry: f.Expr) -> Values:
        names = act.func.names
        bound = names.get(entry[1], ())
        values = self.many(act, tuple([bound[i] for i in entry[2] if i < len(bound)]))
        held = names.get(entry[1] + "[]")
        return values if held is None else union(values, self.many(act, held))

    def name(self, act: Activation, name: str) -> Values:
        """Look a name up as Python does: function, functions around, module, star imports, builtins."""
        at: Activation | None = act
        while at is not None:
            bound = at.func.names.get(name)
            if bound is not None and at.function != 0:
                return self.many(at, bound + at.func.names.get(name + "[]", ()))
            at = at.env
        if act.func.owner >= 0 and act.env is None:
            around = self._surroundings(act.file, act.func.parent)
            if around is not None and around is not act:
                return self.name(around, name)
        return self.module_name(act.file, name)

    def module_name(self, file: int, name: str) -> Values:
        """A name of a module, or of the builtins."""
        module = self.activation(file, 0)
        bound = module.func.names.get(name)
        if bound is not None:
            return self.many(module, bound + module.func.names.get(name + "[]", ()))
        for star, level in module.facts.stars:
            stem = self.project.relative(file, star, level) if level else self.project.absolute(file, star)
            if stem is not None and self.project.module(stem) not in (None, file):
                values = self.member(stem, name)
                if values:
                    return values
        return (("O", name),) if name in BUILTINS else ()

    def member(self, stem: str, name: str) -> Values:
        """A name of a module of the project, or a module in a package."""
        key = stem, name
        known = self._names.get(key)
        if known is None:
            self._names[key] = _OPEN
            known = self._names[key] = self.tracked(lambda: self._member(stem, name))
        if known[1]:
            self.inferred = True
        return known[0]

    def _member(self, stem: str, name: str) -> Values:
        file = self.project.module(stem)
        if file is not None:
            facts = self.project.facts(file)
            if name in facts.functions[0].names or facts.stars:
                values = self.module_name(file, name)
                if values and not (values[0] == ("O", name) and name not in facts.functions[0].names):
                    return values
            if name in facts.functions[0].names:
                return ()
        inner = f"{stem}/{name}" if stem else name
        if self.project.module(inner) is not None or self.project.is_folder(inner):
            return (("M", inner),)
        return ()

    def on_import(self, act: Activation, entry: f.Expr) -> Values:
        stem = self.project.absolute(act.file, entry[1])
        return (("M", stem),) if stem is not None else (self.outside(entry[1]),)

    def on_import_from(self, act: Activation, entry: f.Expr) -> Values:
        _, module, name, level = entry
        stem = self.project.relative(act.file, module, level) if level else self.project.absolute(act.file, module)
        if stem is None:
            return (self.outside(f"{module}.{name}"),) if not level else ()
        return self.member(stem, name)

    def outside(self, origin: str) -> Value:
        """A library value, by its canonical origin."""
        return ("O", self.catalogue.canonical(origin))

    def on_attribute(self, act: Activation, entry: f.Expr) -> Values:
        return union((), *[self.attribute(v, entry[2]) for v in self.evaluate(act, entry[1])])

    def attribute(self, value: Value, name: str) -> Values:
        """What ``value.name`` may be."""
        kind = value[0]
        if kind == "O":
            origin = value[1]
            if origin.count(".") > _LONGEST_ORIGIN:
                return ()
            if origin.endswith(".state") and self.index.assignments(name):
                return self.results.assigned_outside(name, ("state",))
            return (self.outside(f"{origin}.{name}"),)
        if kind == "I":
            return self.classes.instance_attribute(value, name)
        if kind == "C":
            return self.classes.class_attribute((value[1], value[2]), name, value)
        if kind == "M":
            return self.member(value[1], name) or self.results.assigned_outside(name, (value[1].rpartition("/")[2],))
        if kind == "S":
            return self.results.super_attribute(value, name)
        if kind in "XT" and name in _CONTAINER_ACCESS:
            return (("P", ("X", elements(value)), name),)
        return self.results.function_attribute(value, name) if kind == "F" else ()

    def on_call(self, act: Activation, entry: f.Expr) -> Values:
        return self.results.of_call(act, entry[1])

    def result(self, value: Value, positional: tuple[Values, ...], keywords: tuple[tuple[str, Values], ...]) -> Values:
        """What calling a value gives."""
        return self.results.result(value, positional, keywords)

    def on_await(self, act: Activation, entry: f.Expr) -> Values:
        found: list[Values] = []
        for value in self.evaluate(act, entry[1]):
            found.append(self.results.returned(value[1]) if value[0] == "R" else (value,))
        return union((), *found)

    def on_subscript(self, act: Activation, entry: f.Expr) -> Values:
        found: list[Values] = []
        for value in self.evaluate(act, entry[1]):
            found.append(self._element_at(act, value, entry[2]))
        return union((), *found)

    def _element_at(self, act: Activation, value: Value, key: int) -> Values:
        if value[0] == "T":
            literal = act.facts.exprs[key][1] if key >= 0 and act.facts.exprs[key][0] == "k" else None
            if type(literal) is int and -len(value[1]) <= literal < len(value[1]):
                inner: Values = value[1][literal]
                return inner
        if value[0] in "XT":
            self.inferred = True
            return elements(value)
        if value[0] == "O":
            return (self.outside(value[1] + "[]"),)
        if value[0] == "I":
            return union(
                (), *[self.result(m, ((),), ()) for m in self.classes.instance_attribute(value, "__getitem__")]
            )
        return (value,) if value[0] == "C" else ()

    def on_function(self, act: Activation, entry: f.Expr) -> Values:
        func = act.facts.functions[entry[1]]
        nested = act.function != 0 and not act.func.flags & f.CLASS_BODY
        value = ("F", act.file, entry[1], None, act if nested else None, False)
        return self.results.decorated(act, func, value)

    def on_class(self, act: Activation, entry: f.Expr) -> Values:
        return (("C", act.file, entry[1]),)

    def on_container(self, act: Activation, entry: f.Expr) -> Values:
        values = self.many(act, entry[1])
        return (bounded(("X", values)),)

    def on_sequence(self, act: Activation, entry: f.Expr) -> Values:
        return (bounded(("T", tuple([self.evaluate(act, e) for e in entry[1]]))),)

    def on_choice(self, act: Activation, entry: f.Expr) -> Values:
        return self.many(act, entry[1])

    def on_element(self, act: Activation, entry: f.Expr) -> Values:
        return union((), *[self.results.element(v) for v in self.evaluate(act, entry[1])])

    def on_unpacked(self, act: Activation, entry: f.Expr) -> Values:
        found: list[Values] = []
        for value in self.evaluate(act, entry[1]):
            if value[0] == "T":
                found.append(value[1][entry[2]] if entry[2] < len(value[1]) else ())
            else:
                found.append(self.results.element(value))
        return union((), *found)

    def on_entered(self, act: Activation, entry: f.Expr) -> Values:
        return union((), *[self.results.entered(v, entry[2]) for v in self.evaluate(act, entry[1])])

    def on_declared(self, act: Activation, entry: f.Expr) -> Values:
        return self.annotations.instance(act, entry[1])

    def on_made(self, act: Activation, entry: f.Expr) -> Values:
        return self.evaluate(self.entry(act.file, entry[1]), entry[2])

    def on_parameter(self, act: Activation, entry: f.Expr) -> Values:
        return self.results.parameter(act, entry[1])


_OPERATIONS: dict[str, Callable[[Resolver, Activation, f.Expr], Values]] = {
    "n": Resolver.on_name,
    "v": Resolver.on_local,
    "a": Resolver.on_attribute,
    "c": Resolver.on_call,
    "w": Resolver.on_await,
    "s": Resolver.on_subscript,
    "f": Resolver.on_function,
    "C": Resolver.on_class,
    "m": Resolver.on_import,
    "M": Resolver.on_import_from,
    "d": Resolver.on_container,
    "t": Resolver.on_sequence,
    "o": Resolver.on_choice,
    "i": Resolver.on_element,
    "u": Resolver.on_unpacked,
    "e": Resolver.on_entered,
    "T": Resolver.on_declared,
    "p": Resolver.on_parameter,
    "g": Resolver.on_made,
}
