"""Timelines to numbers, numbers to a verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from unstall import units
from unstall.model import (
    Measure,
    PodTimeline,
    ProbeRecord,
    ProbeSpec,
    ProbeType,
    Request,
    Stall,
    StoryLine,
    TableRow,
    Trial,
)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the sorted values do not exceed; None of no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def latencies(requests: Iterable[Request]) -> list[float]:
    """Seconds from when each request was due to its answer; failed ones count until their failure was known."""
    return [request.answered_at - request.due_at for request in requests]


def of_route(timeline: PodTimeline, route: str) -> list[Request]:
    """The requests of one route, in order."""
    return [request for request in timeline.requests if request.route == route]


def total_s(requests: Sequence[Request]) -> float | None:
    """From the first request being due to the last answer."""
    if not requests:
        return None
    return max(r.answered_at for r in requests) - min(r.due_at for r in requests)


def not_ready_s(timeline: PodTimeline) -> float:
    """Seconds in which the pod was not ready after it had first been."""
    first_ready = min((end for start, end in timeline.unready if start <= 0.0), default=0.0)
    return sum(end - start for start, end in timeline.unready if start >= first_ready)


def watched_latency(timeline: PodTimeline, route: str, other: str) -> float | None:
    """The median latency of ``route`` among the requests sent while ``other`` was running."""
    running = of_route(timeline, other)
    if not running:
        return None
    start, end = min(r.due_at for r in running), max(r.answered_at for r in running)
    asked = [r for r in of_route(timeline, route) if start <= r.due_at < end]
    return percentile(latencies(asked), 0.5)


def idle_latency(timeline: PodTimeline, route: str, other: str) -> float | None:
    """The median latency of ``route`` among the requests answered before the first of ``other`` was sent."""
    start = min((r.due_at for r in of_route(timeline, other)), default=timeline.duration_s)
    return percentile(latencies(r for r in of_route(timeline, route) if r.answered_at < start), 0.5)


Figure = Callable[[PodTimeline], float | None]


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """An interval for the median from order statistics, at least 95 % from six values on; fewer give their range.

    Source: the binomial argument for the sign test; no distribution is assumed.
    """
    n = len(values)
    if n < 2:
        return None
    ordered = sorted(values)
    cut, below = 0, 0.0
    while cut < n // 2:
        below += math.comb(n, cut) / 2**n
        if 2 * below > 0.05:
            break
        cut += 1
    edge = max(0, cut - 1)
    return ordered[edge], ordered[n - 1 - edge]


def summarise(trials: Sequence[Trial], figure: Figure, unit: str, total: Figure | None = None) -> Measure:
    """The median of a figure over trials, with its interval."""
    values = [v for t in trials if (v := figure(t.timeline)) is not None]
    if not values:
        return Measure(None, unit)
    bounds = median_interval(values) or (None, None)
    totals = [v for t in trials if total and (v := total(t.timeline)) is not None]
    of = statistics.median(totals) if totals else None
    return Measure(statistics.median(values), unit, of, bounds[0], bounds[1])


def difference(before: Sequence[Trial], after: Sequence[Trial], figure: Figure, unit: str) -> Measure | None:
    """After against before, trial by trial: a ratio for positive times, else the plain difference."""
    pairs = [
        (b, a)
        for one, two in zip(before, after, strict=False)
        if (b := figure(one.timeline)) is not None and (a := figure(two.timeline)) is not None
    ]
    if not pairs:
        return None
    ratio = unit == "s" and all(b > 0 and a > 0 for b, a in pairs)
    values = [b / a if ratio else a - b for b, a in pairs]
    bounds = median_interval(values) or (None, None)
    return Measure(statistics.median(values), "ratio" if ratio else unit, None, bounds[0], bounds[1])


FIGURES: tuple[tuple[str, str, Figure, Figure | None], ...] = (
    ("restarts", "count", lambda t: float(t.restarts), None),
    ("missed probes", "count", lambda t: float(t.missed_probes), None),
    ("time not ready", "s", not_ready_s, None),
    ("p50 latency", "s", lambda t: percentile(latencies(t.requests), 0.5), None),
    ("p99 latency", "s", lambda t: percentile(latencies(t.requests), 0.99), None),
    (
        "failed requests",
        "of",
        lambda t: float(sum(r.failed for r in t.requests)),
        lambda t: float(len(t.requests)),
    ),
    ("longest stall", "s", lambda t: t.longest_stall_s, None),
)


def comparison(arms: Sequence[Sequence[Trial]]) -> tuple[TableRow, ...]:
    """The table of numbers: a column per arm, and the difference where there are two."""
    rows = []
    for label, unit, figure, total in FIGURES:
        cells = tuple(summarise(trials, figure, unit, total) for trials in arms)
        gap = difference(arms[0], arms[1], figure, "count" if unit == "of" else unit) if len(arms) == 2 else None
        rows.append(TableRow(label, cells, gap))
    return tuple(rows)


def story(timeline: PodTimeline, probes: Sequence[ProbeSpec] = ()) -> tuple[StoryLine, ...]:
    """What happened, in order: stalls, missed probes, kubelet's kills, exits and returns."""
    needed = {probe.type: probe.failure_threshold for probe in probes}
    lines = [_stall_line(stall) for stall in timeline.stalls if stall.duration_s >= 0.1]
    for probe in timeline.probes:
        if probe.outcome == "failure" and probe.type is not ProbeType.STARTUP:
            lines.append(
                StoryLine(probe.ended_at, f"{probe.type} probe", _missed(probe.output), _so_far(probe, needed))
            )
    for event in timeline.events:
        if event.reason in ("Killing", "BackOff"):
            waiting = sum(r.sent_at <= event.at < r.answered_at for r in timeline.requests)
            where = f"{units.plural(waiting, 'request')} in flight" if event.reason == "Killing" else ""
            lines.append(StoryLine(event.at, "kubelet", event.message, where))
        elif event.source == "container":
            lines.append(StoryLine(event.at, "container", event.message))
    return tuple(sorted(lines, key=lambda line: line.at))


def _stall_line(stall: Stall) -> StoryLine:
    where = f"{stall.site.path}:{stall.site.line} {stall.site.qualname}".rstrip() if stall.site else ""
    what = f"blocks the loop for {units.seconds(stall.duration_s)}"
    if not stall.ended:
        what += ", until it was killed"
    if stall.blame == "environment":
        what = f"the loop stood still for {units.seconds(stall.duration_s)}, not by this code"
    return StoryLine(stall.started_at, stall.route or "event loop", what, where)


def _so_far(probe: ProbeRecord, needed: dict[ProbeType, int]) -> str:
    return f"{probe.run} of {needed[probe.type]}" if probe.type in needed else f"{probe.run} in a row"


def _missed(output: str) -> str:
    if "exceeded" in output or "timed out" in output or "timeout" in output:
        return "no answer in time"
    if "connection refused" in output:
        return "connection refused"
    if "statuscode" in output:
        return f"answered {output.rsplit(' ', 1)[-1]}"
    return output[:80]
