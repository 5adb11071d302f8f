"""The call graph of a part of a project as plain data: it crosses from one process to another, and is kept on disk.

A node is an activation, a number; the first nodes are linked, in the order they were reached, and only they have
arcs. What the others are matters to whoever links again after an edit (see `relink`).
"""

from __future__ import annotations

import marshal
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from unstall.catalogue import Row
from unstall.source.calls import Edge, Link
from unstall.source.facts import ASYNC
from unstall.source.names import Resolver
from unstall.source.values import Activation

FunctionKey = tuple[int, int]
"""File and number of a function."""
HAS_ROW, HAS_LONG_ROW = 1, 2
"""A node does something that blocks; something that is not a lock and not short by design."""


class Arc(NamedTuple):
    """An edge (see `calls.Edge`) by numbers: ``target`` is a node, ``row`` one of the graph's rows; -1 is none."""

    line: int
    column: int
    end_column: int
    text: str
    how: str
    inferred: bool
    target: int
    row: int
    section: tuple[int, int, str] | None


class CallGraph(NamedTuple):
    """What every node does.

    ``functions`` has the function of each node, linked or not. ``targets`` has the nodes that each linked node calls, in
    order, ``~node`` where it is awaited. ``marks`` has a byte for each linked node; ``locked`` are the nodes that hold a
    lock over lines. ``on_loop`` has the nodes that a node hands to the loop, ``unknown`` what was not followed.
    ``seeds`` are the coroutines as a framework enters them. ``arcs`` has the arcs of the nodes of each file,
    ``acts`` what each node's activation was made of, ``asked`` what was asked of all files (see `contained.Asked`): packed.
    ``whole`` is True where the seeds reach every linked node, in the order of their numbers.
    """

    functions: list[FunctionKey]
    targets: list[tuple[int, ...]]
    marks: bytes
    locked: list[int]
    on_loop: dict[int, tuple[int, ...]]
    unknown: dict[int, tuple[tuple[int, str], ...]]
    seeds: list[int]
    names: dict[FunctionKey, tuple[str, int]]
    rows: list[tuple[Any, ...]]
    arcs: dict[int, bytes]
    acts: bytes
    asked: bytes
    whole: bool

    def row(self, number: int) -> Row:
        """One of the rows."""
        return Row(*self.rows[number])


def plain_row(row: Row) -> tuple[Any, ...]:
    """A row without the conditions that excuse it: they were looked at when the edge was made."""
    return (
        *(row.name, row.rule, row.why, row.duration, row.releases_gil, row.remedy, row.transform, row.when),
        *((), row.verified, row.family, row.library, row.pattern),
    )


class Numbered:
    """Gives numbers to activations, rows and texts while links become arcs."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.nodes: dict[Activation, int] = {}
        self.rows = rows
        self._rows = {row: number for number, row in enumerate(rows)}
        self._texts: dict[str, str] = {}

    def arcs(self, link: Link) -> tuple[tuple[Any, ...], ...]:
        """The arcs of a link whose targets have numbers."""
        return tuple([self._arc(edge) for edge in link.edges])

    def _arc(self, edge: Edge) -> tuple[Any, ...]:
        row = -1
        if edge.row is not None:
            plain = plain_row(edge.row)
            row = self._rows.setdefault(plain, len(self.rows))
            if row == len(self.rows):
                self.rows.append(plain)
        target = self.nodes[edge.target] if edge.target is not None else -1
        text = self._texts.setdefault(edge.text, edge.text)  # one object is packed once
        return (*edge[:3], text, edge.how, edge.inferred, target, row, edge.section)


def targets_of(arcs: Iterable[tuple[Any, ...]]) -> tuple[int, ...]:
    """The nodes that arcs lead to, ``~node`` where they are awaited."""
    return tuple([~arc[6] if arc[4] == "await" else arc[6] for arc in arcs if arc[6] >= 0])


def marks_of(link: Link) -> int:
    """The byte of a node."""
    mark = 0
    for edge in link.edges:
        if edge.row is not None:
            mark |= HAS_ROW
            if edge.section is None and edge.row.duration != "S":
                mark |= HAS_LONG_ROW
    return mark


def built(resolver: Resolver, links: dict[Activation, Link], seeds: list[Activation]) -> CallGraph:
    """The graph of what was linked."""
    numbered = Numbered([])
    acts = [*links, *(act for act in resolver.activations() if act not in links)]
    numbered.nodes = nodes = {act: number for number, act in enumerate(acts)}
    by_file: dict[int, dict[int, Any]] = defaultdict(dict)
    targets: list[tuple[int, ...]] = []
    marks = bytearray()
    locked, on_loop, unknown = [], {}, {}
    names: dict[FunctionKey, tuple[str, int]] = {}
    for number, (act, link) in enumerate(links.items()):
        arcs = numbered.arcs(link)
        by_file[act.file][number] = arcs
        targets.append(targets_of(arcs))
        marks.append(marks_of(link))
        if any(edge.section is not None for edge in link.edges):
            locked.append(number)
        if link.on_loop:
            on_loop[number] = tuple([nodes[target] for target in link.on_loop])
        if link.unknown:
            unknown[number] = link.unknown
        names.setdefault((act.file, act.function), (act.func.qualname, act.func.flags))
    return CallGraph(
        [(act.file, act.function) for act in acts],
        targets,
        bytes(marks),
        locked,
        on_loop,
        unknown,
        [nodes[act] for act in seeds],
        names,
        numbered.rows,
        {file: marshal.dumps(arcs) for file, arcs in by_file.items()},
        marshal.dumps([_spelled(act, nodes) for act in acts]),
        asked_of(resolver),
        True,
    )


def asked_of(resolver: Resolver) -> bytes:
    """What has been asked of all files so far, packed."""
    index = resolver.index
    return marshal.dumps((list(index.asked), list(index.asked_everywhere), list(resolver.members())))


def _spelled(act: Activation, nodes: dict[Activation, int]) -> Any:
    """What an activation is made of, those it refers to by number; None where its function says it all."""
    if act.me is None and act.env is None and not act.binds:
        return None
    return (
        numbers_for(act.me, nodes),
        nodes[act.env] if act.env is not None else -1,
        numbers_for(act.binds, nodes),
        act.depth,
    )


NODE = "@"
"""The first item of a pair that stands for an activation inside a value."""


def numbers_for(value: Any, nodes: dict[Activation, int]) -> Any:
    """A value with numbers in the place of activations."""
    if type(value) is tuple:
        return tuple([numbers_for(item, nodes) for item in value])
    return (NODE, nodes[value]) if isinstance(value, Activation) else value


class Walked(NamedTuple):
    """The linked nodes that the seeds reach, in order, and those a chain begins with."""

    nodes: list[int]
    starts: list[int]


def walked(graph: CallGraph) -> Walked:
    """Walk a graph from its seeds as `parts.linked` walked the project."""
    targets, on_loop = graph.targets, graph.on_loop
    if graph.whole:
        names, functions = graph.names, graph.functions
        is_async = [node for node in range(len(targets)) if names[functions[node]][1] & ASYNC]
        return Walked(
            list(range(len(targets))), [*is_async, *dict.fromkeys(n for some in on_loop.values() for n in some)]
        )
    seen = bytearray(len(targets))
    nodes: list[int] = []
    starts: list[int] = []
    handed: dict[int, None] = {}
    pending = graph.seeds
    while pending:
        found: list[int] = []
        for node in pending:
            if seen[node]:
                continue
            seen[node] = 1
            nodes.append(node)
            if graph.names[graph.functions[node]][1] & ASYNC:
                starts.append(node)
            found += [target if target >= 0 else ~target for target in targets[node]]
            if node in on_loop:
                handed.update(dict.fromkeys(on_loop[node]))
                found += on_loop[node]
        pending = found
    return Walked(nodes, [*starts, *handed])
