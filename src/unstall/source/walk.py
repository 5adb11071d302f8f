"""Walks from coroutines to primitives: which sites are reached, and by which chains."""

from __future__ import annotations

import marshal
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

from unstall.catalogue import Row
from unstall.source.callgraph import HAS_LONG_ROW, HAS_ROW, Arc, CallGraph, FunctionKey, walked
from unstall.source.facts import ASYNC

Place = tuple[int, int, int]
"""File, line and column of a primitive."""
Lock = tuple[int, str]
"""File and name of a lock."""
Start = tuple[FunctionKey, int]
"""A coroutine, and the line in it where a chain begins."""
_RANK = {"U": 0, "L": 1, "S": 2}


class Hop(NamedTuple):
    """An arc, and the function whose body has it."""

    caller: FunctionKey
    qualname: str
    arc: Arc


class Reached(NamedTuple):
    """A chain from a coroutine of a graph: its hops as node and arc, the last of which is the primitive."""

    graph: Graph
    start: int
    hops: tuple[tuple[int, Arc], ...]

    @property
    def entrance(self) -> FunctionKey:
        """The function that the chain begins in."""
        return self.graph.plain.functions[self.start]

    @property
    def is_async(self) -> bool:
        """False where the chain begins in a function that was handed to the loop."""
        return self.graph.is_async(self.start)

    @property
    def row(self) -> Row:
        """The row that the chain ends with. A lock that everybody holds for a few instructions only is short."""
        node, arc = self.hops[-1]
        return self.graph.row(arc.row, self.graph.is_brief(node, arc))


Ranked = tuple[tuple[int, int], Reached]
"""A chain and its order: the worse row first, then the shorter chain."""


class Graph:
    """One part's call graph, walked from its seeds."""

    def __init__(self, plain: CallGraph) -> None:
        self.plain = plain
        self.nodes, self.starts = walked(plain)
        self.long: frozenset[Lock] = frozenset()
        """The locks that somebody holds for long, in whatever part; set before chains are asked for."""
        self._packed: dict[int, dict[int, tuple[Any, ...]]] = {}
        self._arcs: dict[int, tuple[Arc, ...]] = {}
        self._rows: dict[tuple[int, bool], Row] = {}
        self._reach: dict[int, dict[Place, tuple[tuple[int, Arc], ...]]] = {}

    def row(self, number: int, brief: bool = False) -> Row:
        """One of the graph's rows, as a lock that everybody holds for moments only where it is ``brief``."""
        row = self._rows.get((number, brief))
        if row is None:
            row = self.plain.row(number)
            row = self._rows[number, brief] = replace(row, duration="S") if brief else row
        return row

    def is_async(self, node: int) -> bool:
        """True for coroutines."""
        return bool(self.plain.names[self.plain.functions[node]][1] & ASYNC)

    def hop(self, node: int, arc: Arc) -> Hop:
        """What a reader is told of an arc."""
        key = self.plain.functions[node]
        return Hop(key, self.plain.names[key][0], arc)

    def is_brief(self, node: int, arc: Arc) -> bool:
        """True for a lock that nobody holds for long."""
        return arc.section is not None and (self.plain.functions[node][0], arc.section[2]) not in self.long

    def arcs(self, node: int) -> tuple[Arc, ...]:
        """What a node does."""
        known = self._arcs.get(node)
        if known is None:
            file = self.plain.functions[node][0]
            packed = self._packed.get(file)
            if packed is None:
                packed = self._packed[file] = marshal.loads(self.plain.arcs[file])
            make = tuple.__new__
            known = self._arcs[node] = tuple([make(Arc, arc) for arc in packed[node]])
        return known

    # --- what blocks ----------------------------------------------------------------------------------

    def long_locks(self) -> frozenset[Lock]:
        """The locks that somebody in this part holds across something that blocks, or an await."""
        live = set(self.nodes) if self.plain.locked else set()
        locks = [(node, arc) for node in self.plain.locked if node in live for arc in self.arcs(node) if arc.section]
        if not locks:
            return frozenset()
        blocking = self._reaching(HAS_LONG_ROW)
        return frozenset(
            (self.plain.functions[node][0], arc.section[2])
            for node, arc in locks
            if arc.section is not None and self._is_long(node, arc, blocking)
        )

    def _is_long(self, node: int, lock: Arc, blocking: set[int]) -> bool:
        """True where something that blocks, or an await, happens while the lock is held."""
        if lock.section is None or lock.section[1] < 0:
            return True
        first, last, _ = lock.section
        inside = (arc for arc in self.arcs(node) if first <= arc.line <= last and arc.section is None)
        return any(self.row(arc.row).duration != "S" if arc.row >= 0 else arc.target in blocking for arc in inside)

    @cached_property
    def _callers(self) -> dict[int, list[int]]:
        """Who calls a node without awaiting it."""
        callers: dict[int, list[int]] = defaultdict(list)
        targets = self.plain.targets
        for node in self.nodes:
            for target in targets[node]:
                if target >= 0:
                    callers[target].append(node)
        return callers

    @cached_property
    def blocking(self) -> set[int]:
        """Nodes from which synchronous calls alone lead to a primitive."""
        return self._reaching(HAS_ROW)

    def _reaching(self, mark: int) -> set[int]:
        marks, callers = self.plain.marks, self._callers
        pending = [node for node in self.nodes if marks[node] & mark]
        found = set(pending)
        while pending:
            for caller in callers.get(pending.pop(), ()):
                # A coroutine's own body runs on the loop, but nobody reaches it by a synchronous call.
                if caller not in found:
                    found.add(caller)
                    if not self.is_async(caller):
                        pending.append(caller)
        return found

    # --- chains ---------------------------------------------------------------------------------------

    def reach(self, start: int) -> dict[Place, tuple[tuple[int, Arc], ...]]:
        """From a synchronous node, the shortest chain to every primitive."""
        known = self._reach.get(start)
        if known is not None:
            return known
        found: dict[Place, tuple[tuple[int, Arc], ...]] = {}
        blocking, functions = self.blocking, self.plain.functions
        seen = {start}
        queue: deque[tuple[int, tuple[tuple[int, Arc], ...]]] = deque([(start, ())])
        while queue:
            node, hops = queue.popleft()
            for arc in self.arcs(node):
                target = arc.target
                if arc.row >= 0:
                    found.setdefault((functions[node][0], arc.line, arc.column), (*hops, (node, arc)))
                    continue
                follows = target >= 0 and arc.how != "await" and target not in seen and target in blocking
                if follows and not self.is_async(target):
                    seen.add(target)
                    queue.append((target, (*hops, (node, arc))))
        self._reach[start] = found
        return found

    def chains(self) -> Iterator[tuple[Place, Reached]]:
        """Every chain, the first hop in the body of its start, with the place that it leads to."""
        blocking, functions = self.blocking, self.plain.functions
        for start in self.starts:
            if start not in blocking:
                continue
            file = functions[start][0]
            for arc in self.arcs(start):
                first = start, arc
                if arc.row >= 0:
                    yield (file, arc.line, arc.column), Reached(self, start, (first,))
                elif arc.target >= 0 and arc.how != "await" and arc.target in blocking:
                    for place, hops in self.reach(arc.target).items():
                        yield place, Reached(self, start, (first, *hops))

    def order(self, reached: Reached) -> tuple[int, int]:
        """The worse row first, then the shorter chain."""
        node, arc = reached.hops[-1]
        rank = _RANK["S" if self.is_brief(node, arc) else self.row(arc.row).duration]
        return rank, len(reached.hops)

    def await_of(self, node: int, key: FunctionKey) -> Hop:
        """Where a node awaits a function."""
        functions = self.plain.functions
        return next(
            self.hop(node, arc)
            for arc in self.arcs(node)
            if arc.how == "await" and arc.target >= 0 and functions[arc.target] == key
        )


class Walks:
    """The graphs of all parts, judged by what all of them know of locks."""

    def __init__(self, plain: list[CallGraph]) -> None:
        self.graphs = [Graph(each) for each in plain]
        long = frozenset().union(*(graph.long_locks() for graph in self.graphs))
        for graph in self.graphs:
            graph.long = long

    def chains(self) -> dict[Place, dict[Start, Ranked]]:
        """By place and start, the worst chain, of those as bad the shortest."""
        found: dict[Place, dict[Start, Ranked]] = defaultdict(dict)
        for graph in self.graphs:
            functions = graph.plain.functions
            for place, reached in graph.chains():
                start = functions[reached.start], reached.hops[0][1].line
                order = graph.order(reached)
                at_place = found[place]
                known = at_place.get(start)
                if known is None or order < known[0]:
                    at_place[start] = order, reached
        return found

    @cached_property
    def awaiters(self) -> dict[FunctionKey, dict[FunctionKey, tuple[Graph, int]]]:
        """For each coroutine function, which coroutine functions await it, and the node where each does first."""
        found: dict[FunctionKey, dict[FunctionKey, tuple[Graph, int]]] = {}
        for graph in self.graphs:
            functions, targets, names = graph.plain.functions, graph.plain.targets, graph.plain.names
            for node in graph.nodes:
                caller = functions[node]
                if names[caller][1] & ASYNC:
                    for target in targets[node]:
                        if target < 0:
                            found.setdefault(functions[~target], {}).setdefault(caller, (graph, node))
        return found

    def unknown(self) -> dict[tuple[int, int, str], None]:
        """What was not followed: file, line, and what it is."""
        found: dict[tuple[int, int, str], None] = {}
        for graph in self.graphs:
            if graph.plain.unknown:
                for node in graph.nodes:
                    for line, what in graph.plain.unknown.get(node, ()):
                        found[graph.plain.functions[node][0], line, what] = None
        return found
