"""Links again, after an edit, what the edit changed: the rest of the call graph is taken from an earlier run.

Theory. What a function calls follows from its own body and from values: what names stand for, what calls give back,
what callers pass. Where an edit leaves all values as they were (see `contained`), all links but those of the edited bodies
are what they were, and only these are made anew. Where it may not, nothing is made anew here and the whole project is
linked. So it is where a link comes out one way alone and another among all others: then the order of looking matters.
"""

from __future__ import annotations

import marshal
from collections import Counter, defaultdict, deque
from functools import cached_property
from typing import Any

from unstall.catalogue import Catalogue
from unstall.source import facts as f
from unstall.source.callers import is_too_common
from unstall.source.callgraph import NODE, CallGraph, FunctionKey, Numbered, marks_of, targets_of
from unstall.source.calls import Link, Linker
from unstall.source.contained import Asked, Contained, contained
from unstall.source.names import Resolver
from unstall.source.project import Project
from unstall.source.values import Activation


def relinked(
    graphs: list[CallGraph], before: Project, now: Project, rows: Catalogue, changed: list[int], asked: Asked
) -> list[CallGraph] | None:
    """The graphs after the files ``changed`` were edited; None where that reaches further than these files."""
    edits: dict[int, Contained] = {}
    for file in changed:
        edit = contained(before.facts(file), now.facts(file), now.stem(file), asked)
        if edit is None:
            return None
        edits[file] = edit
    if not _same_callers(before, now, rows, edits):
        return None
    found = []
    for graph in graphs:
        if any(key[0] in edits for key in graph.names):
            acts = Acts(graph)
            if not _same_results(acts, before, now, rows, edits):
                return None
            again = _Relinking(acts, before, now, rows, edits).graph()
            if again is None:
                return None
            graph = again
        found.append(graph)
    return found


class Acts:
    """What the activations of a graph were made of."""

    def __init__(self, graph: CallGraph) -> None:
        self.graph = graph
        self.spelled = marshal.loads(graph.acts)
        self.counts = Counter([key for key, one in zip(graph.functions, self.spelled, strict=True) if one is not None])
        """How many variants each function has."""

    @cached_property
    def nodes(self) -> dict[FunctionKey, list[int]]:
        """The nodes of each function."""
        found: dict[FunctionKey, list[int]] = defaultdict(list)
        for node, key in enumerate(self.graph.functions):
            found[key].append(node)
        return found


class Revived:
    """The activations of a graph, made again when asked for."""

    def __init__(self, acts: Acts, resolver: Resolver) -> None:
        self.graph, self.resolver = acts.graph, resolver
        self._of, self._spelled = acts, acts.spelled
        self._acts: dict[int, Activation] = {}
        self.nodes: dict[Activation, int] = {}
        resolver.count(acts.counts)

    def act(self, node: int) -> Activation:
        """The activation of a node."""
        act = self._acts.get(node)
        if act is None:
            file, function = self.graph.functions[node]
            spelled = self._spelled[node]
            if spelled is None:
                act = self.resolver.activation(file, function)
            else:
                me, env, binds, depth = spelled
                around = self.act(env) if env >= 0 else None
                act = self.resolver.revived(file, function, self._value(me), around, self._value(binds), depth)
            self._acts[node] = act
            self.nodes[act] = node
        return act

    def _value(self, plain: Any) -> Any:
        if type(plain) is not tuple:
            return plain
        if len(plain) == 2 and plain[0] == NODE:
            return self.act(plain[1])
        return tuple([self._value(item) for item in plain])

    def node(self, act: Activation) -> int | None:
        """The node of an activation, None where the graph has none like it."""
        if act not in self.nodes:
            for node in self._of.nodes.get((act.file, act.function), ()):
                self.act(node)
        return self.nodes.get(act)


# --- callers ------------------------------------------------------------------------------------------


def _same_callers(before: Project, now: Project, rows: Catalogue, edits: dict[int, Contained]) -> bool:
    """True where whoever looks back at the callers of a name is told what it was told."""
    if not any(edit.gone or edit.come for edit in edits.values()):
        return True
    one, other = Resolver(before, rows), Resolver(now, rows)
    names: set[str] = set()
    for file, edit in edits.items():
        for resolver, calls in ((one, edit.gone), (other, edit.come)):
            facts = resolver.project.facts(file)
            names.update(f.last_name(facts, facts.calls[number].func) for number in calls)
            if any(_tells(resolver, file, number) for number in calls):
                return False
    return all(is_too_common(one.index, name) == is_too_common(other.index, name) for name in names)


def _tells(resolver: Resolver, file: int, number: int) -> bool:
    """True for a call that hands something known to a function or class of the project."""
    call = resolver.project.facts(file).calls[number]
    caller = resolver.entry(file, call.function)
    if not any(value[0] in "FC" for value in resolver.evaluate(caller, call.func)):
        return False
    return any(resolver.evaluate(caller, value) for value in (*call.args, *(v for _, v in call.keywords)))


# --- results ------------------------------------------------------------------------------------------


def _same_results(acts: Acts, before: Project, now: Project, rows: Catalogue, edits: dict[int, Contained]) -> bool:
    """True where the functions whose results may have changed give back what they gave."""
    functions = {(file, at) for file, edit in edits.items() for at in edit.results}
    nodes = [node for function in sorted(functions) for node in acts.nodes.get(function, ())] if functions else []
    if not nodes:
        return True
    old, new = Revived(acts, Resolver(before, rows)), Revived(acts, Resolver(now, rows))
    return all(_results(old.resolver, old.act(node)) == _results(new.resolver, new.act(node)) for node in nodes)


def _results(resolver: Resolver, act: Activation) -> Any:
    returned = resolver.tracked(lambda: resolver.results.returned(act))
    yielded = resolver.tracked(lambda: resolver.results.yielded(act) if act.func.flags & f.GENERATOR else ())
    return _spelled(returned), _spelled(yielded)


def _spelled(value: Any) -> Any:
    """A value that can be held against one of another resolver."""
    if type(value) is tuple:
        return tuple([_spelled(item) for item in value])
    if isinstance(value, Activation):
        around = _spelled(value.env) if value.env is not None else None
        return NODE, value.file, value.function, _spelled(value.me), around, _spelled(value.binds)
    return value


# --- links --------------------------------------------------------------------------------------------


class _Relinking:
    """One graph, with what edited files do brought up to date."""

    def __init__(self, acts: Acts, before: Project, now: Project, rows: Catalogue, edits: dict[int, Contained]):
        graph = acts.graph
        self.acts, self.old, self.edits = acts, graph, edits
        self.before, self.now = before, now
        self.rows = rows
        self.revived = Revived(acts, Resolver(now, rows))
        self.functions = list(graph.functions)
        more = len(graph.functions) - len(graph.targets)
        self.targets = [*graph.targets, *[()] * more]
        self.marks = bytearray(graph.marks) + bytes(more)
        self.names = dict(graph.names)
        self.on_loop, self.unknown = dict(graph.on_loop), dict(graph.unknown)
        self.locked = set(graph.locked)
        self.chunks: dict[int, dict[int, Any]] = {}
        self.numbered = Numbered(list(graph.rows))
        self.numbered.nodes = self.revived.nodes

    def graph(self) -> CallGraph | None:
        """The new graph; None where what is linked depends on what was linked before it."""
        old = self.old
        inside = [node for node in range(len(old.targets)) if old.functions[node][0] in self.edits]
        touched = [node for node in inside if self._is_touched(node)]
        if not self._link_as_before(touched):
            return None
        for node in inside:
            if not self._is_touched(node):
                self._move(node)
        self._link(touched)
        packed = {file: marshal.dumps(arcs) for file, arcs in self.chunks.items()}
        linked = len(old.targets)
        same = self.targets[:linked] == old.targets and not any(self.targets[linked:]) and self.on_loop == old.on_loop
        return old._replace(
            functions=self.functions,
            targets=old.targets if same else self.targets,
            marks=bytes(self.marks[:linked] if same else self.marks),
            locked=sorted(self.locked),
            on_loop=self.on_loop,
            unknown=self.unknown,
            names=self.names,
            rows=self.numbered.rows,
            arcs=old.arcs | packed,
            whole=old.whole and same,
        )

    def _is_touched(self, node: int) -> bool:
        file, function = self.old.functions[node]
        return function in self.edits[file].bodies

    def _chunk(self, file: int) -> dict[int, Any]:
        if file not in self.chunks:
            self.chunks[file] = marshal.loads(self.old.arcs[file]) if file in self.old.arcs else {}
        return self.chunks[file]

    def _link_as_before(self, nodes: list[int]) -> bool:
        """True where the old bodies, looked at alone, link as they did among all others."""
        revived = Revived(self.acts, Resolver(self.before, self.rows))
        linker = Linker(revived.resolver)
        for node in nodes:
            link = linker.link(revived.act(node))
            targets = [(edge.how, revived.node(edge.target)) for edge in link.edges if edge.target is not None]
            if any(number is None for _, number in targets):
                return False
            alone = tuple([~number if how == "await" else number for how, number in targets if number is not None])
            if (alone, marks_of(link)) != (self.old.targets[node], self.old.marks[node]):
                return False
        return True

    # --- bodies that only moved ---------------------------------------------------------------------

    def _move(self, node: int) -> None:
        """Give what a node does its new lines; the effects of its function are what they were, one for one."""
        file, function = self.old.functions[node]
        was, now = (project.facts(file).functions[function] for project in (self.before, self.now))
        self.names[file, function] = now.qualname, now.flags
        places: dict[tuple[int, int, int], f.Effect] = {}
        lines: dict[int, int] = {}
        for one, other in zip(_acting(was), _acting(now), strict=True):
            places[one.line, one.column, one.end_column] = other
            lines[one.line] = other.line
        ends = {effect.line: effect.end_column for effect in now.effects if effect.kind == "short"}
        chunk = self._chunk(file)
        chunk[node] = tuple([_moved(arc, places[arc[:3]], ends) for arc in chunk[node]])
        if node in self.unknown:
            self.unknown[node] = tuple([(lines[line], what) for line, what in self.unknown[node]])

    # --- bodies that do something else --------------------------------------------------------------

    def _link(self, touched: list[int]) -> None:
        """Link these nodes, then all that is reached for the first time."""
        acts = {node: self.revived.act(node) for node in touched}
        linked = set(range(len(self.old.targets))).difference(touched)
        pending = deque(touched)
        links: dict[int, Link] = {}
        linker = Linker(self.revived.resolver)
        while pending:
            node = pending.popleft()
            if node in linked:
                continue
            linked.add(node)
            link = links[node] = linker.link(acts[node])
            for target in (*(e.target for e in link.edges if e.target is not None), *link.on_loop):
                number = self._number(target)
                if number not in linked:
                    acts[number] = target
                    pending.append(number)
        for node, link in links.items():
            self._put(node, acts[node], link)

    def _number(self, act: Activation) -> int:
        number = self.revived.node(act)
        if number is None:
            number = self.revived.nodes[act] = len(self.functions)
            self.functions.append((act.file, act.function))
            self.targets.append(())
            self.marks.append(0)
        return number

    def _put(self, node: int, act: Activation, link: Link) -> None:
        nodes = self.revived.nodes
        arcs = self.numbered.arcs(link)
        self.targets[node], self.marks[node] = targets_of(arcs), marks_of(link)
        self._chunk(act.file)[node] = arcs
        self.names[act.file, act.function] = act.func.qualname, act.func.flags
        self.on_loop.pop(node, None)
        self.unknown.pop(node, None)
        self.locked.discard(node)
        if link.on_loop:
            self.on_loop[node] = tuple([nodes[target] for target in link.on_loop])
        if link.unknown:
            self.unknown[node] = link.unknown
        if any(edge.section is not None for edge in link.edges):
            self.locked.add(node)


def _acting(func: f.FunctionFacts) -> list[f.Effect]:
    return [effect for effect in func.effects if effect.kind != "short"]


def _moved(arc: tuple[Any, ...], effect: f.Effect, ends: dict[int, int]) -> tuple[Any, ...]:
    section = arc[8]
    if section is not None:
        section = (effect.line, ends.get(effect.line, -1), section[2])
    return (effect.line, effect.column, effect.end_column, *arc[3:8], section)
