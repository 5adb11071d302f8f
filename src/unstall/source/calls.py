"""Links one activation's body to what it calls, awaits, iterates or enters."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from unstall.catalogue import UNKNOWN, Row, Use
from unstall.source import facts as f
from unstall.source.names import Resolver
from unstall.source.origins import BODIES, BODY_ATTRIBUTES, CALLERS, CLIENTS, CONSUMERS, ON_LOOP
from unstall.source.values import Activation, Value, Values

_SEVERITY = {"U": 3, "L": 2, "S": 1, "0": 0}
_CONSUMING_METHODS = frozenset({"join", "extend", "update"})


class Edge(NamedTuple):
    """One thing a body does: run a function of the project (``target``) or a row of the catalogue (``row``)."""

    line: int
    column: int
    end_column: int
    text: str
    how: str
    inferred: bool
    target: Activation | None
    row: Row | None
    section: tuple[int, int, str] | None = None
    """For a lock that is held over lines without an await: the first, the last, and what the lock is called."""


class Link(NamedTuple):
    """What an activation does, what it hands to the event loop to call, and what was not followed."""

    edges: tuple[Edge, ...]
    on_loop: tuple[Activation, ...]
    unknown: tuple[tuple[int, str], ...]


class Linker:
    """Builds the links of activations."""

    def __init__(self, resolver: Resolver) -> None:
        self.r = resolver
        self.catalogue = resolver.catalogue
        self.edges: list[Edge] = []
        self.on_loop: list[Activation] = []
        self.unknown: list[tuple[int, str]] = []

    def link(self, act: Activation) -> Link:
        """The links of one activation."""
        self.edges, self.on_loop, self.unknown = [], [], []
        for effect in act.func.effects:
            if effect.kind == "call":
                self._call(act, effect, act.facts.calls[effect.ref])
            elif effect.kind == "attribute":
                if act.facts.exprs[effect.ref][2] in self.r.index.properties:
                    self._attribute(act, effect)
            elif effect.kind != "short":
                for value in self.r.evaluate(act, effect.ref):
                    self._use(act, effect, value, "iterate" if effect.kind == "iterate" else "with")
        self._sections(act)
        return Link(tuple(_worst_per_place(self.edges)), tuple(self.on_loop), tuple(self.unknown))

    def _sections(self, act: Activation) -> None:
        """Note on lock edges the lines that they hold the lock for."""
        held = [at for at, edge in enumerate(self.edges) if edge.row is not None and _is_held_lock(edge.how, edge.row)]
        if not held:
            return
        ends = {e.line: e.end_column for e in act.func.effects if e.kind == "short"}
        names = {e.line: f.last_name(act.facts, e.ref) for e in act.func.effects if e.kind == "with"}
        for at in held:
            edge = self.edges[at]
            end = ends.get(edge.line, -1)
            self.edges[at] = edge._replace(section=(edge.line, end, names.get(edge.line, "")))

    # --- calls --------------------------------------------------------------------------------------

    def _call(self, act: Activation, effect: f.Effect, call: f.Call) -> None:
        self.r.inferred = False
        values = self.r.evaluate(act, call.func)
        inferred = self.r.inferred or len(values) > 1
        if not values:
            self._unresolved(act, effect, call)
        arguments = None
        for value in values:
            if value[0] == "O":
                self._library_call(act, effect, call, value[1], inferred)
            else:
                if arguments is None:
                    arguments = self.r.results.arguments(act, call)
                self._run(act, effect, call.awaited, value, *arguments, inferred)
        self._callbacks(act, call)

    def _unresolved(self, act: Activation, effect: f.Effect, call: f.Call) -> None:
        entry = act.facts.exprs[call.func] if call.func >= 0 else ("",)
        if entry[0] == "a" and entry[2] in _CONSUMING_METHODS:
            self._consume(act, effect, call)
        elif entry[0] == "s" or (entry[0] == "c" and self._is_getattr(act, entry[1])):
            self.unknown.append((effect.line, "registry" if entry[0] == "s" else "getattr"))

    def _is_getattr(self, act: Activation, number: int) -> bool:
        return ("O", "getattr") in self.r.evaluate(act, act.facts.calls[number].func)

    def _library_call(self, act: Activation, effect: f.Effect, call: f.Call, origin: str, inferred: bool) -> None:
        if self.catalogue.offload(origin) is not None:
            return
        if origin in CONSUMERS:
            self._consume(act, effect, call)
        if origin in CALLERS:
            handed = [*call.args[:1], *(v for k, v in call.keywords if k == "key")]
            for expr in handed:
                for value in self.r.evaluate(act, expr):
                    if value[0] in "FP":
                        self._run(act, effect, False, value, (), (), inferred)
        if call.awaited:
            return
        row = self.catalogue.find(origin)
        if row is not None and row.duration != "0" and not self._excused(act, call, row):
            if row.rule == "UNS104" and row.duration == "S" and any(self._is_body(act, arg) for arg in call.args):
                row = replace(row, duration="L", why="writes an upload or download: as long as it is large")
            self._primitive(effect, row, row.name, "call", inferred)

    def _is_body(self, act: Activation, expr: int) -> bool:
        """A whole upload or download, read at once: ``await file.read()``, ``response.content``."""
        entry = act.facts.exprs[expr] if expr >= 0 else ("",)
        if entry[0] == "v":
            bound = act.func.names.get(entry[1], ())
            return any(self._is_body(act, bound[at]) for at in entry[2] if at < len(bound) and bound[at] != expr)
        if entry[0] == "w":
            return self._is_body(act, entry[1])
        if entry[0] == "a" and entry[2] in BODY_ATTRIBUTES:
            held = self.r.evaluate(act, entry[1])
            return any(v[0] == "O" and (v[1].endswith("Response()") or v[1].startswith(CLIENTS)) for v in held)
        if entry[0] != "c":
            return False
        call = act.facts.calls[entry[1]]
        if call.args or call.keywords:
            return False
        return any(v[0] == "O" and v[1].endswith(BODIES) for v in self.r.evaluate(act, call.func))

    def _excused(self, act: Activation, call: f.Call, row: Row) -> bool:
        if not row.unless:
            return False
        positional = [self._literal(act, e) for e in call.args]
        keywords = {name: self._literal(act, e) for name, e in call.keywords}
        if call.starred or "**" in keywords:
            return any(c.test == "absent" and c.keyword not in keywords for c in row.unless)
        return row.excused(positional, keywords)

    @staticmethod
    def _literal(act: Activation, expr: int) -> object:
        entry = act.facts.exprs[expr] if expr >= 0 else ("",)
        return entry[1] if entry[0] == "k" else UNKNOWN

    def _consume(self, act: Activation, effect: f.Effect, call: f.Call) -> None:
        for arg in call.args:
            for value in self.r.evaluate(act, arg):
                self._use(act, effect, value, "iterate")

    def _callbacks(self, act: Activation, call: f.Call) -> None:
        """``loop.call_soon(f)``: the loop itself will run it."""
        entry = act.facts.exprs[call.func] if call.func >= 0 else ("",)
        position = ON_LOOP.get(entry[2]) if entry[0] == "a" else None
        if position is None or position >= len(call.args):
            return
        receivers = self.r.evaluate(act, entry[1])
        if entry[2] == "add_done_callback" and any(v[0] == "O" and "concurrent" in v[1] for v in receivers):
            return
        for value in self.r.evaluate(act, call.args[position]):
            while value[0] == "P" and not isinstance(value[2], str):
                value = value[1]
            if value[0] == "F":
                target = self.r.results.activation_of(value, (), ())
                if not target.func.flags & (f.ASYNC | f.GENERATOR):
                    self.on_loop.append(target)

    def _run(
        self,
        act: Activation,
        effect: f.Effect,
        awaited: bool,
        value: Value,
        positional: tuple[Values, ...],
        keywords: tuple[tuple[str, Values], ...],
        inferred: bool,
    ) -> None:
        """Calling a value of the project."""
        match value[0]:
            case "F":
                target = self.r.results.activation_of(value, positional, keywords)
                flags = target.func.flags
                if flags & f.ASYNC:
                    if awaited or flags & f.GENERATOR:
                        self._edge(effect, target, "await", inferred)
                elif not flags & f.GENERATOR:
                    self._edge(effect, target, "call", inferred)
                if not flags & f.ASYNC:
                    self._decorators(effect, target.func, value, inferred)
            case "C":
                self._construct(effect, value, positional, keywords, inferred)
            case "P" if not isinstance(value[2], str):
                if value[1][0] == "O":
                    row = self.catalogue.find(value[1][1])
                    if row is None or row.duration == "0" or awaited or self.catalogue.offload(value[1][1]) is not None:
                        return
                    if not row.excused((UNKNOWN,) * len(value[2]), dict(value[3])):
                        self._primitive(effect, row, row.name, "call", True)
                else:
                    self._run(act, effect, awaited, value[1], (*value[2], *positional), keywords, inferred)
            case "I":
                for inner in self.r.classes.instance_attribute(value, "__call__"):
                    self._run(act, effect, awaited, inner, positional, keywords, True)

    def _decorators(self, effect: f.Effect, func: f.FunctionFacts, value: Value, inferred: bool) -> None:
        """Library decorators that wait themselves, as a retry that sleeps between tries."""
        if not func.decorators or func.parent < 0:
            return
        scope = self.r.activation(value[1], func.parent)
        for expr, _ in func.decorators:
            for decorator in self.r.evaluate(scope, expr):
                if decorator[0] == "O":
                    row = self.catalogue.find(decorator[1] + "()")
                    if row is not None and row.duration != "0":
                        self._primitive(effect, row, decorator[1].removesuffix("()"), "decorator", inferred)

    def _construct(
        self,
        effect: f.Effect,
        value: Value,
        positional: tuple[Values, ...],
        keywords: tuple[tuple[str, Values], ...],
        inferred: bool,
    ) -> None:
        me = ("I", value[1], value[2], True)
        key = (value[1], value[2])
        for name in ("__new__", "__init__", "__post_init__"):
            found = self.r.classes.find(key, name)
            if found is None:
                continue
            for inner in self.r.classes.bound(found[0], found[1], me, me):
                if inner[0] == "F":
                    target = self.r.results.activation_of(
                        inner, positional if name != "__post_init__" else (), keywords
                    )
                    self._edge(effect, target, "call", inferred)
        if self.r.classes.find(key, "__init__") is None:
            for base in self.r.classes.order(key)[1]:
                row = self.catalogue.find(base)
                if row is not None and row.duration != "0":
                    self._primitive(effect, row, row.name, "call", True)

    # --- iteration, with, properties ------------------------------------------------------------------

    def _use(self, act: Activation, effect: f.Effect, value: Value, use: Use) -> None:
        """Iterating or entering a value."""
        if value[0] == "O":
            row = self.catalogue.find(value[1], use)
            if row is not None and row.duration != "0" and not self._is_emptied(act, value, use):
                self._primitive(effect, row, row.name, use, False)
        elif value[0] == ("G" if use == "iterate" else "W"):
            if not value[1].func.flags & f.ASYNC:
                self._edge(effect, value[1], use, False)
        elif value[0] == "I":
            names = ("__iter__", "__next__") if use == "iterate" else ("__enter__", "__exit__")
            for name in names:
                for inner in self.r.classes.instance_attribute(value, name):
                    if inner[0] == "F":
                        target = self.r.results.activation_of(inner, (), ())
                        if not target.func.flags & f.ASYNC:
                            self._edge(effect, target, use, False)
            if self.r.classes.find((value[1], value[2]), names[0]) is None:
                for base in self.r.classes.order((value[1], value[2]))[1]:
                    row = self.catalogue.find(base + "()", use)
                    if row is not None and row.duration != "0":
                        self._primitive(effect, row, row.name, use, False)

    def _is_emptied(self, act: Activation, value: Value, use: Use) -> bool:
        """A pool that gets all its work from ``run_in_executor``, which is awaited: leaving it waits for nothing."""
        if use != "with" or not value[1].startswith("concurrent.futures."):
            return False
        handed = False
        for effect in act.func.effects:
            call = act.facts.calls[effect.ref] if effect.kind == "call" else None
            entry = act.facts.exprs[call.func] if call is not None and call.func >= 0 else ("",)
            if call is None or entry[0] != "a":
                continue
            if entry[2] in ("submit", "map") and value in self.r.evaluate(act, entry[1]):
                return False
            handed |= entry[2] == "run_in_executor" and bool(call.args)
        return handed

    def _attribute(self, act: Activation, effect: f.Effect) -> None:
        entry = act.facts.exprs[effect.ref]
        for value in self.r.evaluate(act, entry[1]):
            if value[0] == "I":
                getter = self.r.classes.property_function(value, entry[2])
                if getter is not None:
                    target = self.r.results.activation_of(getter, (), ())
                    if not target.func.flags & f.ASYNC:
                        self._edge(effect, target, "property", False)

    # --- edges --------------------------------------------------------------------------------------

    def _edge(self, effect: f.Effect, target: Activation, how: str, inferred: bool) -> None:
        text = target.func.qualname + ("" if how == "property" else "()")
        self.edges.append(Edge(effect.line, effect.column, effect.end_column, text, how, inferred, target, None))

    def _primitive(self, effect: f.Effect, row: Row, text: str, how: str, inferred: bool) -> None:
        self.edges.append(Edge(effect.line, effect.column, effect.end_column, text, how, inferred, None, row))


def _is_held_lock(how: str, row: Row) -> bool:
    return how == "with" and row.rule == "UNS106" and row.library == "threading"


def _worst_per_place(edges: list[Edge]) -> list[Edge]:
    """Of several rows at one place, as from a value of two types, the worst."""
    if all([edge.row is None for edge in edges]):
        return edges
    best: dict[tuple[int, int, int], Edge] = {}
    kept: list[Edge] = []
    for edge in edges:
        if edge.row is None:
            kept.append(edge)
            continue
        place = edge.line, edge.column, edge.end_column
        known = best.get(place)
        if known is None or _SEVERITY[edge.row.duration] > _SEVERITY[known.row.duration if known.row else "0"]:
            best[place] = edge
    kept.extend(best.values())
    return kept
