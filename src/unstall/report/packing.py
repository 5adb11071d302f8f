"""Requests laid into rows, so that waiting shows as a staircase.

A request takes the lowest row that is free when it is due. While the loop is blocked nobody leaves, so each
arrival takes a row further down: the queue becomes visible without being drawn.

Within a request's bar, time spent behind *another* request's stall is ``waiting``; the rest is ``served``.
Which request a stall belongs to is not in the client's record, so it is worked out: of the requests that were
there for the whole stall and have its route, the first to be answered, since the loop serves in order.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from unstall.model import PodTimeline, Request, Stall

SLACK_S = 0.05
"""How far the client's and the server's clock reading of one moment may be apart."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of one request's time in one status: served, waiting or failed."""

    from_s: float
    to_s: float
    row: int
    status: str
    last: bool = True


@dataclass(frozen=True, slots=True)
class Packed:
    """All bars, and how many rows they need."""

    bars: tuple[Bar, ...]
    rows: int


def pack(timeline: PodTimeline, finest_s: float) -> Packed:
    """Lay all requests into rows; pieces shorter than ``finest_s`` are not told apart."""
    requests = sorted(timeline.requests, key=lambda r: (r.due_at, r.answered_at))
    waits = Waits(timeline.stalls, owners(timeline.stalls, requests))
    bars: list[Bar] = []
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    rows = 0
    for number, request in enumerate(requests):
        while busy and busy[0][0] <= request.due_at:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            row = heapq.heappop(free)
        else:
            row, rows = rows, rows + 1
        heapq.heappush(busy, (max(request.answered_at, request.due_at) + finest_s, row))
        bars.extend(_pieces(request, row, waits.of(number, request), finest_s))
    return Packed(tuple(bars), rows)


def owners(stalls: Sequence[Stall], requests: Sequence[Request]) -> dict[int, int]:
    """For each stall's index, the index of the request whose handler it was; ``requests`` sorted by ``due_at``."""
    found: dict[int, int] = {}
    taken: set[int] = set()
    active: list[int] = []
    coming = 0
    for s in sorted(range(len(stalls)), key=lambda i: stalls[i].started_at):
        stall = stalls[s]
        while coming < len(requests) and requests[coming].due_at <= stall.started_at + SLACK_S:
            active.append(coming)
            coming += 1
        active = [i for i in active if requests[i].answered_at > stall.started_at]
        end = stall.started_at + stall.duration_s
        there = [
            i
            for i in active
            if i not in taken
            and requests[i].answered_at >= end - SLACK_S
            and (stall.route is None or stall.route == requests[i].route)
        ]
        if there:
            mine = min(there, key=lambda i: (requests[i].answered_at, requests[i].due_at, i))
            found[s] = mine
            taken.add(mine)
    return found


class Waits:
    """Answers when a request waited behind somebody else's stall."""

    def __init__(self, stalls: Sequence[Stall], owner: dict[int, int]) -> None:
        self.order = sorted(range(len(stalls)), key=lambda i: stalls[i].started_at)
        self.stalls = [stalls[i] for i in self.order]
        self.starts = [stall.started_at for stall in self.stalls]
        self.ends = list(accumulate((s.started_at + s.duration_s for s in self.stalls), max))
        self.owner = owner

    def of(self, number: int, request: Request) -> list[tuple[float, float]]:
        """The merged intervals, in order."""
        low = bisect_right(self.ends, request.due_at)
        high = bisect_left(self.starts, request.answered_at)
        merged: list[tuple[float, float]] = []
        for i in range(low, high):
            if self.owner.get(self.order[i]) == number:
                continue
            start = max(self.starts[i], request.due_at)
            end = min(self.starts[i] + self.stalls[i].duration_s, request.answered_at)
            if end <= start:
                continue
            if merged and start <= merged[-1][1] + SLACK_S / 5:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _pieces(request: Request, row: int, waits: list[tuple[float, float]], finest_s: float) -> list[Bar]:
    start, end = request.due_at, max(request.answered_at, request.due_at)
    if request.failed:
        return [Bar(start, end, row, "failed")]
    cuts: list[tuple[float, float, str]] = []
    at = start
    for wait_from, wait_to in waits:
        if wait_to - wait_from < finest_s:
            continue
        if wait_from - at >= finest_s:
            cuts.append((at, wait_from, "served"))
        else:
            wait_from = at
        cuts.append((wait_from, wait_to, "waiting"))
        at = wait_to
    if end - at >= finest_s or not cuts:
        cuts.append((at, end, "served"))
    else:
        cuts[-1] = (cuts[-1][0], end, "waiting")
    return [Bar(a, b, row, status, number == len(cuts) - 1) for number, (a, b, status) in enumerate(cuts)]


def in_flight(requests: Sequence[Request], at: float) -> int:
    """How many requests were due and not yet answered at one moment."""
    return sum(r.due_at <= at < r.answered_at for r in requests)
