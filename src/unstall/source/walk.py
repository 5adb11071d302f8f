"""Walks from coroutines to primitives: which sites are reached, and by which chains."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from unstall.catalogue import Row
from unstall.source.calls import Edge, Link
from unstall.source.facts import ASYNC
from unstall.source.values import Activation

Place = tuple[int, int, int]
"""File, line and column of a primitive."""
FunctionKey = tuple[int, int]


Lock = tuple[int, str]
"""File and name of a lock."""


class Caller(NamedTuple):
    """What a reader is told of an activation."""

    file: int
    function: int
    qualname: str
    flags: int


class Hop(NamedTuple):
    """An edge, and the activation whose body has it."""

    caller: Activation | Caller
    edge: Edge


class Reached(NamedTuple):
    """A chain from a coroutine: its hops, the last of which is the primitive."""

    entrance: Activation | Caller
    hops: tuple[Hop, ...]

    def judged(self, long: frozenset[Lock]) -> Reached:
        """A lock that everybody holds for a few instructions only is worth a note, not an error."""
        *above, (caller, edge) = self.hops
        if edge.section is None or edge.row is None or (caller.file, edge.section[2]) in long:
            return self
        return Reached(self.entrance, (*above, Hop(caller, edge._replace(row=replace(edge.row, duration="S")))))


Awaiters = dict[FunctionKey, list[tuple[FunctionKey, Hop]]]
_RANK = {"U": 0, "L": 1, "S": 2}


def row_of(reached: Reached) -> Row:
    """The row that a chain ends with."""
    row = reached.hops[-1].edge.row
    assert row is not None
    return row


def better(one: Reached, other: Reached, long: bool) -> bool:
    """True for the worse row, then for the shorter chain; ``long`` says how long locks there are held."""
    return _order(one, long) < _order(other, long)


def _order(reached: Reached, long: bool) -> tuple[int, int]:
    is_short = not long and reached.hops[-1].edge.section is not None
    return _RANK["S" if is_short else row_of(reached).duration], len(reached.hops)


def told(reached: Reached, callers: dict[Activation, Caller]) -> Reached:
    """A chain without the activations, so that they can be forgotten or left behind."""
    return Reached(
        _caller(reached.entrance, callers),
        tuple([Hop(_caller(hop.caller, callers), hop.edge._replace(target=None)) for hop in reached.hops]),
    )


def _caller(act: Activation | Caller, callers: dict[Activation, Caller]) -> Caller:
    if isinstance(act, Caller):
        return act
    found = callers.get(act)
    if found is None:
        found = callers[act] = Caller(act.file, act.function, act.func.qualname, act.func.flags)
    return found


class Graph:
    """All linked activations."""

    def __init__(self, links: dict[Activation, Link]) -> None:
        self.links = links
        self._blocking: set[Activation] = set()
        self.long_locks = self._long_locks()
        self._reach: dict[Activation, dict[Place, tuple[Hop, ...]]] = {}
        self._blocking = self._reaching_primitives()

    def _long_locks(self) -> frozenset[Lock]:
        """The locks that somebody holds across something that blocks, or an await."""
        locks = [(act, e) for act, link in self.links.items() for e in link.edges if e.section is not None]
        if not locks:
            return frozenset()
        self._blocking = self._reaching_primitives(locks_too=False)
        return frozenset(
            (act.file, e.section[2]) for act, e in locks if e.section is not None and self._is_long(act, e)
        )

    def _is_long(self, act: Activation, lock: Edge) -> bool:
        """True where something that blocks, or an await, happens while the lock is held."""
        if lock.section is None or lock.section[1] < 0:
            return True
        first, last, _ = lock.section
        inside = (e for e in self.links[act].edges if first <= e.line <= last and e.section is None)
        return any(e.row.duration != "S" if e.row is not None else e.target in self._blocking for e in inside)

    def _reaching_primitives(self, locks_too: bool = True) -> set[Activation]:
        """Activations from which synchronous calls alone lead to a primitive."""
        callers: dict[Activation, list[Activation]] = defaultdict(list)
        pending: list[Activation] = []
        for act, link in self.links.items():
            for edge in link.edges:
                if edge.target is not None and edge.how != "await":
                    callers[edge.target].append(act)
            if any(
                e.row is not None and (locks_too or (e.section is None and e.row.duration != "S")) for e in link.edges
            ):
                pending.append(act)
        found = set(pending)
        while pending:
            for caller in callers[pending.pop()]:
                # A coroutine's own body runs on the loop, but nobody reaches it by a synchronous call.
                if caller not in found:
                    found.add(caller)
                    if not caller.func.flags & ASYNC:
                        pending.append(caller)
        return found

    def reach(self, start: Activation) -> dict[Place, tuple[Hop, ...]]:
        """From a synchronous activation, the shortest chain to every primitive."""
        known = self._reach.get(start)
        if known is not None:
            return known
        found: dict[Place, tuple[Hop, ...]] = {}
        seen = {start}
        queue: deque[tuple[Activation, tuple[Hop, ...]]] = deque([(start, ())])
        while queue:
            act, hops = queue.popleft()
            link = self.links.get(act)
            for edge in link.edges if link is not None else ():
                if edge.row is not None:
                    found.setdefault((act.file, edge.line, edge.column), (*hops, Hop(act, edge)))
                    continue
                target = edge.target
                if target is None or edge.how == "await" or target in seen or target not in self._blocking:
                    continue
                if not target.func.flags & ASYNC:
                    seen.add(target)
                    queue.append((target, (*hops, Hop(act, edge))))
        self._reach[start] = found
        return found

    def chains(self, starts: Iterable[Activation]) -> Iterator[Reached]:
        """Every chain of these activations, the first hop in their own body."""
        for act in starts:
            if act not in self._blocking:
                continue
            for edge in self.links[act].edges:
                first = Hop(act, edge)
                if edge.row is not None:
                    yield Reached(act, (first,))
                elif edge.target is not None and edge.how != "await" and edge.target in self._blocking:
                    for hops in self.reach(edge.target).values():
                        yield Reached(act, (first, *hops))

    def awaiters(self) -> Awaiters:
        """For each coroutine function, which coroutine functions await it, and where."""
        callers: dict[Activation, Caller] = {}
        found: dict[FunctionKey, dict[FunctionKey, Hop]] = defaultdict(dict)
        for act, link in self.links.items():
            if act.func.flags & ASYNC:
                for edge in link.edges:
                    if edge.how == "await" and edge.target is not None:
                        key = edge.target.file, edge.target.function
                        caller = act.file, act.function
                        if caller not in found[key]:
                            found[key][caller] = Hop(_caller(act, callers), edge._replace(target=None))
        return {key: list(rows.items()) for key, rows in found.items()}
