"""One moment of a measured run: where each request stood on its way through uvicorn, the loop and the handler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unstall import units
from unstall.model import PodTimeline, ProbeRecord, Request, Stall
from unstall.report import words
from unstall.report.packing import owners

MOST_SQUARES = 60


@dataclass(frozen=True, slots=True)
class Crowd:
    """Requests of one route at one station: how many, and how long the oldest has been there."""

    label: str
    number: int
    oldest_s: float
    probe: bool = False
    missed: bool = False

    @property
    def squares(self) -> int:
        """How many are drawn one by one."""
        return min(self.number, MOST_SQUARES)

    @property
    def waited(self) -> str:
        """The oldest's waiting time, in words."""
        return units.seconds(self.oldest_s)


@dataclass(frozen=True, slots=True)
class Moment:
    """Who was where at ``at``. ``stall`` is the one that held the loop; None means that the loop was free."""

    at: float
    stall: Stall | None
    held_s: float
    socket: tuple[Crowd, ...]
    queue: tuple[Crowd, ...]
    parked: tuple[Crowd, ...]
    answered: int
    waiting: int

    @property
    def time(self) -> str:
        """The moment, in words."""
        return units.moment(self.at)

    @property
    def held(self) -> str:
        """How long the loop had been held at this moment, in words."""
        return units.seconds(self.held_s)


def moment_of(timeline: PodTimeline, blocking_s: float = 0.1) -> Moment | None:
    """The moment at which most waited, in one of the longest stalls; without a stall, the one with most in flight.

    None where there was neither a stall nor a request.
    """
    requests = sorted(timeline.requests, key=lambda r: (r.due_at, r.answered_at))
    stalls = [s for s in timeline.stalls if s.duration_s >= blocking_s]
    if not stalls:
        return _free(requests)
    stall, at = _worst(stalls, requests, timeline.probes)
    mine = owners(timeline.stalls, requests).get(timeline.stalls.index(stall))
    waiting = [r for i, r in enumerate(requests) if i != mine and r.due_at <= at < r.answered_at]
    # While a callback runs nothing is read, so what came during it is in the kernel's socket for certain.
    queue = [r for r in waiting if r.due_at < stall.started_at]
    socket = [r for r in waiting if r.due_at >= stall.started_at]
    probes = [p for p in timeline.probes if stall.started_at <= p.started_at <= at]
    return Moment(
        at=at,
        stall=stall,
        held_s=at - stall.started_at,
        socket=_crowds(socket, at) + _probe_crowds(probes),
        queue=_crowds(queue, at),
        parked=(),
        answered=sum(r.answered_at <= at and not r.failed for r in requests),
        waiting=len(waiting) + len(probes),
    )


def _free(requests: Sequence[Request]) -> Moment | None:
    if not requests:
        return None
    spans = [(r.due_at, r.answered_at) for r in requests if not r.failed]
    most, at = _fullest(spans, requests[0].due_at, max(r.answered_at for r in requests))
    if most <= 0:
        return None
    there = [r for r in requests if r.due_at <= at < r.answered_at]
    answered = sum(r.answered_at <= at and not r.failed for r in requests)
    return Moment(at, None, 0.0, (), (), _crowds(there, at), answered, 0)


def _worst(stalls: Sequence[Stall], requests: Sequence[Request], probes: Sequence[ProbeRecord]) -> tuple[Stall, float]:
    """The stall, of those about as long as the longest, in which most waited; and the moment of it."""
    longest_s = max(stall.duration_s for stall in stalls)
    candidates = [stall for stall in stalls if stall.duration_s >= 0.8 * longest_s][:50]
    spans = [(r.due_at, r.answered_at) for r in requests] + [(p.started_at, p.ended_at) for p in probes]
    best = max(
        ((*_fullest(spans, s.started_at, s.started_at + s.duration_s, s.duration_s / 50), s) for s in candidates),
        key=lambda found: (found[0], found[2].duration_s),
    )
    return best[2], best[1]


def _fullest(spans: Sequence[tuple[float, float]], start: float, end: float, least_s: float = 0.0) -> tuple[int, float]:
    """How many of the spans overlapped at most within an interval, and the last moment of it.

    Stretches shorter than ``least_s`` are passed over: two clocks' jitter, not a queue.
    """
    changes = sorted([(a, 1) for a, _ in spans] + [(b, -1) for _, b in spans])
    now, best, at, before = 0, -1, (start + end) / 2, start
    for when, change in [*changes, (end, 0)]:
        # Between two changes nothing moves, so the middle of the stretch stands for all of it.
        low, high = max(before, start), min(when, end)
        if high - low > least_s and now >= best:
            best, at = now, (low + high) / 2
        now += change
        before = max(before, when)
    return best, at


def _crowds(requests: Sequence[Request], at: float) -> tuple[Crowd, ...]:
    groups: dict[str, list[float]] = {}
    for request in requests:
        groups.setdefault(request.route, []).append(at - request.due_at)
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))
    shown = [Crowd(words.shorten(words.visible(route), 40), len(ages), max(ages)) for route, ages in largest[:4]]
    rest = [age for _, ages in largest[4:] for age in ages]
    if rest:
        shown.append(Crowd(units.plural(len(largest) - 4, "other route"), len(rest), max(rest)))
    return tuple(shown)


def _probe_crowds(probes: Sequence[ProbeRecord]) -> tuple[Crowd, ...]:
    groups: dict[str, list[ProbeRecord]] = {}
    for probe in probes:
        groups.setdefault(str(probe.type), []).append(probe)
    return tuple(
        Crowd(
            f"{kind} probe",
            len(asked),
            max(p.ended_at - p.started_at for p in asked),
            probe=True,
            missed=any(p.outcome == "failure" for p in asked),
        )
        for kind, asked in groups.items()
    )
