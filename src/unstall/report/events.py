"""The events of a timeline as rows of a table, for people who read or listen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unstall import units
from unstall.model import PodTimeline, ProbeRecord
from unstall.report import words

MOST_EVENTS = 120


@dataclass(frozen=True, slots=True)
class Event:
    """One row: when, which lane, what, and the whole text where ``what`` was shortened."""

    at: float
    lane: str
    what: str
    whole: str = ""

    @property
    def time(self) -> str:
        """The time on the trial's clock, in words."""
        return units.moment(self.at)


@dataclass(frozen=True, slots=True)
class Events:
    """The first ``MOST_EVENTS`` rows, and how many more the JSON file holds."""

    rows: tuple[Event, ...]
    more: int


def events_of(timeline: PodTimeline) -> Events:
    """Phases, probes in runs of one outcome, stalls, requests by route, Kubernetes' own events; in time order."""
    every = sorted(
        [*_phases(timeline), *_probes(timeline), *_stalls(timeline), *_requests(timeline), *_reported(timeline)],
        key=lambda event: event.at,
    )
    return Events(tuple(every[:MOST_EVENTS]), max(0, len(every) - MOST_EVENTS))


def _event(at: float, lane: str, what: str) -> Event:
    whole = words.visible(what)
    short = words.shorten(whole, 160)
    return Event(at, lane, short, whole if short != whole else "")


def _phases(timeline: PodTimeline) -> Iterator[Event]:
    for phase in timeline.phases:
        lasted = units.seconds(phase.to_s - phase.from_s)
        yield _event(phase.from_s, "pod", f"{phase.kind} for {lasted} (container {phase.instance + 1})")


def _stalls(timeline: PodTimeline) -> Iterator[Event]:
    for stall in timeline.stalls:
        where = words.place(stall.site)
        killed = "" if stall.ended else ", until the process was killed"
        text = f"blocked for {units.seconds(stall.duration_s)}{killed}: {words.guilty_route(stall)}"
        yield _event(stall.started_at, "event loop", f"{text}, {where}" if where else text)


def _probes(timeline: PodTimeline) -> Iterator[Event]:
    for kind in dict.fromkeys(probe.type for probe in timeline.probes):
        run: list[ProbeRecord] = []
        for probe in [p for p in timeline.probes if p.type is kind]:
            if run and (probe.outcome != run[0].outcome or probe.outcome == "failure"):
                yield _probe_run(run)
                run = []
            run.append(probe)
        if run:
            yield _probe_run(run)


def _probe_run(run: list[ProbeRecord]) -> Event:
    first, last = run[0], run[-1]
    if len(run) > 1:
        text = f"{units.count(len(run))} times {first.outcome}, until {units.moment(last.ended_at)}"
    else:
        text = first.outcome + (f": {first.output}" if first.output else "")
        if first.outcome == "failure":
            text += f" ({first.run} in a row)"
    return _event(first.ended_at, f"{first.type} probe", text)


def _requests(timeline: PodTimeline) -> Iterator[Event]:
    """A row for each request where there are few, else one for each route."""
    if len(timeline.requests) <= 12:
        for r in timeline.requests:
            came = f"failed, {r.error or r.status}" if r.failed else f"answered {r.status}"
            yield _event(r.due_at, "request", f"{r.route}: {came} after {units.seconds(r.answered_at - r.due_at)}")
        return
    for route in dict.fromkeys(request.route for request in timeline.requests):
        mine = [r for r in timeline.requests if r.route == route]
        slowest = units.seconds(max(r.answered_at - r.due_at for r in mine))
        failed = sum(r.failed for r in mine)
        text = f"{route}: {units.plural(len(mine), 'request')} from here on, {units.count(failed)} failed, slowest {slowest}"
        yield _event(mine[0].due_at, "requests", text)


def _reported(timeline: PodTimeline) -> Iterator[Event]:
    for event in timeline.events:
        yield _event(event.at, event.source, f"{event.reason}: {event.message}")
