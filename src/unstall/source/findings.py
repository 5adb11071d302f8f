"""Chains to findings: one for each place that blocks, with the ways that lead there, worst first."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from unstall.catalogue import Row
from unstall.model import CallChain, Entrance, Finding, Primitive, Site, Step
from unstall.source.callgraph import FunctionKey
from unstall.source.entrances import ROUTED, Entrances
from unstall.source.walk import Hop, Ranked, Reached, Walks

if TYPE_CHECKING:
    from unstall.source.check import Options

SEVERITIES = {"U": "error", "L": "warning", "S": "note"}
_ORDER = {"error": 0, "warning": 1, "note": 2}
_MOST_CHAINS = 200
"""Of one finding; with every route, ten times as many."""
_DEEPEST_AWAITS = 6

Ups = list[tuple[Entrance, tuple[Hop, ...]]]
"""How routes await their way to a coroutine."""


class _Way(NamedTuple):
    """A chain and the awaits above it, before its steps are spelled out: most are only counted."""

    entrance: Entrance
    above: tuple[Hop, ...]
    reached: Reached

    @property
    def order(self) -> tuple[bool, int, str, int]:
        first = self.above[0].arc if self.above else self.reached.hops[0][1]
        steps = len(self.above) + len(self.reached.hops)
        return self.entrance.kind not in ROUTED, steps, self.entrance.label, first.line


class Finder:
    """Makes findings of the chains of one project."""

    def __init__(self, walks: Walks, paths: list[str], entrances: Entrances, options: Options) -> None:
        self.walks, self.paths, self.entrances, self.options = walks, paths, entrances, options
        self._ups: dict[FunctionKey, Ups] = {}
        self._routed: dict[FunctionKey, bool] = {}
        self._seen_keys: dict[str, int] = defaultdict(int)
        self._steps: dict[int, Step] = {}
        """By the identity of arcs, which their graph keeps: many chains end alike."""
        self._primitives: dict[int, Primitive] = {}
        """By the identity of rows, likewise."""

    def findings(self) -> list[Finding]:
        """All of them."""
        by_place = self.walks.chains()
        found = []
        for place in sorted(by_place, key=lambda p: (self.paths[p[0]], p[1], p[2])):
            finding = self._finding(list(by_place[place].values()))
            if finding is not None:
                found.append(finding)
        found.sort(key=lambda f: (_ORDER[f.severity], f.site.path, f.site.line, f.site.column))
        return found

    def _finding(self, ranked: list[Ranked]) -> Finding | None:
        worst = min(ranked, key=itemgetter(0))[1]
        row = worst.row
        last = worst.graph.hop(*worst.hops[-1])
        path = self.paths[last.caller[0]]
        base = f"{path}::{last.qualname}::{row.rule}::{row.name}"
        self._seen_keys[base] += 1
        key = base if self._seen_keys[base] == 1 else f"{base}#{self._seen_keys[base]}"
        if not self._selected(row.rule):
            return None
        only_routes = self.options.entrances == "routes"
        ways = [
            _Way(entrance, above, reached)
            for _, reached in ranked
            for entrance, above in self._entered_by(reached)
            if not only_routes or entrance.kind in ROUTED
        ]
        if not ways:
            return None
        ways.sort(key=lambda way: way.order)
        shown = ways[: _MOST_CHAINS * (10 if self.options.every_route else 1)]
        return Finding(
            row.rule,
            SEVERITIES[row.duration],
            Site(path, last.arc.line, last.arc.column, last.qualname),
            self._primitive(row),
            tuple(self._chain(way) for way in shown),
            key,
            row.remedy or None,
        )

    def _selected(self, rule: str) -> bool:
        options = self.options
        if options.select and not any(rule.startswith(s) for s in options.select):
            return False
        return not any(rule.startswith(s) for s in options.ignore)

    def _chain(self, way: _Way) -> CallChain:
        above = [self._step(hop) for hop in way.above]
        graph, steps = way.reached.graph, self._steps
        for node, arc in way.reached.hops:
            step = steps.get(id(arc))
            if step is None:
                step = steps[id(arc)] = self._step(graph.hop(node, arc))
            above.append(step)
        return CallChain(way.entrance, tuple(above), self._primitive(way.reached.row))

    def _step(self, hop: Hop) -> Step:
        arc = hop.arc
        site = Site(self.paths[hop.caller[0]], arc.line, arc.column, hop.qualname)
        return Step(site, arc.text, arc.how, "inferred" if arc.inferred else "resolved")

    def _primitive(self, row: Row) -> Primitive:
        known = self._primitives.get(id(row))
        if known is None:
            known = self._primitives[id(row)] = row.primitive()
        return known

    def _entered_by(self, reached: Reached) -> Ups:
        """The nearest route that awaits its way to a coroutine, or every one, with the awaits; else itself."""
        start = reached.entrance
        if start not in self._ups:
            self._ups[start] = self._found_above(start, not reached.is_async)
        return self._ups[start]

    def _found_above(self, start: FunctionKey, on_loop: bool) -> Ups:
        own = self.entrances.name(start, on_loop)
        if own.kind in ROUTED:
            return [(own, ())]
        found: Ups = []
        awaiters, routed = self.walks.awaiters, self._routed
        below: dict[FunctionKey, FunctionKey | None] = {start: None}
        level = [start]
        for _ in range(_DEEPEST_AWAITS):
            above = []
            for at in level:
                for caller in awaiters.get(at, ()):
                    if caller in below:
                        continue
                    below[caller] = at
                    is_routed = routed.get(caller)
                    if is_routed is None:
                        is_routed = routed[caller] = self.entrances.name(caller).kind in ROUTED
                    if not is_routed:
                        above.append(caller)
                        continue
                    found.append((self.entrances.name(caller), self._awaits(caller, below)))
                    if not self.options.every_route:
                        return found
            level = above
        return found or [(own, ())]

    def _awaits(self, route: FunctionKey, below: dict[FunctionKey, FunctionKey | None]) -> tuple[Hop, ...]:
        """The awaits that lead down from a route."""
        hops, at = [], route
        while (awaited := below[at]) is not None:
            graph, node = self.walks.awaiters[awaited][at]
            hops.append(graph.await_of(node, awaited))
            at = awaited
        return tuple(hops)
