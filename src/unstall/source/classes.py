"""Classes of the project: their order of look-up, their subclasses, what an attribute of theirs is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unstall.source import facts as f
from unstall.source.values import Value, Values, union

if TYPE_CHECKING:
    from unstall.source.names import Resolver

ClassKey = tuple[int, int]
_MOST_OVERRIDES = 6
_MOST_SUBCLASSES = 40


class Classes:
    """Looks attributes up as Python does, as far as source tells."""

    def __init__(self, resolver: Resolver) -> None:
        self.r = resolver
        self._orders: dict[ClassKey, tuple[tuple[ClassKey, ...], tuple[str, ...]]] = {}
        self._looked: dict[Any, tuple[Values, bool]] = {}
        self._children: dict[ClassKey, tuple[ClassKey, ...]] = {}
        self._found: dict[tuple[ClassKey, str], tuple[Any, tuple[ClassKey, tuple[int, ...]] | None]] = {}
        """By class and name, with the order of look-up that it was found in: that grows while it is worked out."""

    def order(self, key: ClassKey) -> tuple[tuple[ClassKey, ...], tuple[str, ...]]:
        """The project's classes in the order of look-up, and the library classes at the end of it."""
        known = self._orders.get(key)
        if known is not None:
            return known
        self._orders[key] = (key,), ()
        own: list[ClassKey] = [key]
        outside: list[str] = []
        facts = self.r.project.facts(key[0])
        row = facts.classes[key[1]]
        scope = self.r.activation(key[0], facts.functions[row.body].parent)
        for base in row.bases:
            for value in self.r.evaluate(scope, base):
                if value[0] == "C":
                    inner, libraries = self.order((value[1], value[2]))
                    own.extend(k for k in inner if k not in own)
                    outside.extend(o for o in libraries if o not in outside)
                elif value[0] == "O" and value[1] not in outside:
                    outside.append(value[1])
        self._orders[key] = tuple(own), tuple(outside)
        return self._orders[key]

    def row(self, key: ClassKey) -> f.ClassFacts:
        """The facts of a class."""
        return self.r.project.facts(key[0]).classes[key[1]]

    def subclasses(self, key: ClassKey) -> tuple[ClassKey, ...]:
        """Every class of the project that inherits from this one."""
        known = self._children.get(key)
        if known is None:
            self._children[key] = ()
            found: dict[ClassKey, None] = {}
            for child in self.r.index.children(self.row(key).name):
                if child != key and key in self.order(child)[0]:
                    found[child] = None
                    for grandchild in self.subclasses(child):
                        found[grandchild] = None
            known = self._children[key] = tuple(found)[:_MOST_SUBCLASSES]
        return known

    def find(self, key: ClassKey, name: str) -> tuple[ClassKey, tuple[int, ...]] | None:
        """The first class in look-up order whose body binds a name, with what it binds."""
        order = self.order(key)[0]
        known = self._found.get((key, name))
        if known is not None and known[0] is order:
            return known[1]
        found = None
        for at in order:
            facts = self.r.project.facts(at[0])
            bound = facts.functions[facts.classes[at[1]].body].names.get(name)
            if bound:
                found = at, bound
                break
        self._found[key, name] = order, found
        return found

    def instance_attribute(self, me: Value, name: str) -> Values:
        """What ``instance.name`` may be: methods bound, overrides included where a subclass may stand in."""
        key = ("i", me, name)
        known = self._looked.get(key)
        if known is None:
            self._looked[key] = (), False
            known = self._looked[key] = self.r.tracked(lambda: self._instance_attribute(me, name))
        if known[1]:
            self.r.inferred = True
        return known[0]

    def _instance_attribute(self, me: Value, name: str) -> Values:
        key = (me[1], me[2])
        found = self.find(key, name)
        values: Values = ()
        if found is not None:
            values = self.bound(found[0], found[1], me, me)
        if found is None or not any(v[0] == "F" for v in values):
            values = union(self._assigned(key, name, me), values)
        abstract = all(self._is_abstract(v) for v in values) if values else True
        if not me[3] and (found is not None or not values):
            overrides = self._overrides(key, name, me)
            if overrides:
                self.r.inferred = True
                values = overrides if abstract else union(values, overrides)
        if not values and not name.startswith("__"):
            values = tuple(("O", f"{base}().{name}") for base in self.order(key)[1][:3])
        return values

    def _is_abstract(self, value: Value) -> bool:
        return value[0] == "F" and bool(self.r.project.facts(value[1]).functions[value[2]].flags & f.ABSTRACT)

    def _overrides(self, key: ClassKey, name: str, me: Value) -> Values:
        found: list[Value] = []
        for child in self.subclasses(key):
            facts = self.r.project.facts(child[0])
            bound = facts.functions[facts.classes[child[1]].body].names.get(name)
            if bound:
                found.extend(self.bound(child, bound, ("I", *child, False), ("I", *child, False)))
            if len(found) >= _MOST_OVERRIDES:
                break
        return tuple(v for v in found if not self._is_abstract(v))[:_MOST_OVERRIDES]

    def _assigned(self, key: ClassKey, name: str, me: Value) -> Values:
        """What methods assign to ``self.name``, in the class, its bases or, where that is nothing, its subclasses."""
        found: list[Values] = []
        for at in self.order(key)[0]:
            for function, value in self.row(at).attributes.get(name, ()):
                found.append(self.r.evaluate(self.r.method_activation(at[0], function, me), value))
        if not any(found) and not me[3]:
            for child in self.subclasses(key)[:_MOST_OVERRIDES]:
                for function, value in self.row(child).attributes.get(name, ()):
                    self.r.inferred = True
                    inner = self.r.method_activation(child[0], function, ("I", *child, False))
                    found.append(self.r.evaluate(inner, value))
        return union((), *found)

    def class_attribute(self, key: ClassKey, name: str, me: Value) -> Values:
        """What ``Class.name`` may be: class methods bound to the class, methods not."""
        found = self.find(key, name)
        if found is not None:
            return self.bound(found[0], found[1], None, me)
        assigned = self._assigned(key, name, ("I", *key, True))
        if assigned:
            return assigned
        return tuple(("O", f"{base}.{name}") for base in self.order(key)[1][:3])

    def bound(self, at: ClassKey, bound: tuple[int, ...], me: Value | None, cls: Value) -> Values:
        """Names of a class body as attributes: properties read, methods bound."""
        facts = self.r.project.facts(at[0])
        scope = self.r.activation(at[0], facts.classes[at[1]].body)
        found: list[Values] = []
        for expr in bound:
            for value in self.r.evaluate(scope, expr):
                found.append(self._bind(value, me, cls))
        return union((), *found)

    def _bind(self, value: Value, me: Value | None, cls: Value) -> Values:
        if value[0] != "F" or value[3] is not None:
            return (value,)
        func = self.r.project.facts(value[1]).functions[value[2]]
        if func.flags & f.STATIC or func.owner < 0 and func.flags & f.LAMBDA == 0 and func.parent == 0:
            return (value,)
        if func.flags & f.CLASSMETHOD:
            owner = ("C", cls[1], cls[2]) if cls[0] in "IC" else cls
            return (("F", *value[1:3], owner, *value[4:]),)
        if me is None:
            return (value,)
        bound = ("F", *value[1:3], me, *value[4:])
        if func.flags & f.PROPERTY:
            return self.r.result(bound, (), ())
        return (bound,)

    def property_function(self, me: Value, name: str) -> Value | None:
        """The function behind ``instance.name`` where it is a property."""
        found = self.find((me[1], me[2]), name)
        if found is None:
            return None
        facts = self.r.project.facts(found[0][0])
        for expr in found[1]:
            entry = facts.exprs[expr] if expr >= 0 else ("", 0)
            if entry[0] == "f" and facts.functions[entry[1]].flags & f.PROPERTY:
                return ("F", found[0][0], entry[1], me, None, True)
        return None
