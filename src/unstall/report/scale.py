"""The time axis that all lanes share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from unstall import units
from unstall.model import Phase, PodEvent, PodTimeline, ProbeRecord, Request, Stall

STEPS_S = (
    *(m * 10**e for e in (-4, -3, -2, -1, 0) for m in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """From seconds to the whole numbers a path is written in: ``unit_s`` is the length of one of them.

    Whole numbers keep the file small; milliseconds are finer than a pixel at every zoom a person uses.
    """

    end_s: float
    unit_s: float

    def units(self, at_s: float) -> int:
        """A time in path units, never outside the axis."""
        return round(min(max(at_s, 0.0), self.end_s) / self.unit_s)

    def length(self, from_s: float, to_s: float) -> int:
        """A duration in path units; at least one, so that nothing disappears."""
        return max(1, self.units(to_s) - self.units(from_s))


def scale_for(timelines: Iterable[PodTimeline]) -> Scale:
    """One axis for several timelines: the longest decides, and answers that came after the end still fit."""
    end_s = max((_end(timeline) for timeline in timelines), default=0.0)
    end_s = max(end_s, 0.001) if end_s > 0 else 1.0
    return Scale(end_s, 0.001 if end_s <= 3 * 3600 else 0.01 if end_s <= 30 * 3600 else 0.1)


def _end(timeline: PodTimeline) -> float:
    ends = [timeline.duration_s, *(p.to_s for p in timeline.phases), *(r.answered_at for r in timeline.requests)]
    return max((end for end in ends if math.isfinite(end)), default=0.0)


def step_for(end_s: float, most: int = 8) -> float:
    """The smallest round step that gives at most ``most`` labels."""
    days = math.ceil(end_s / most / 86400) * 86400.0
    return next((step for step in STEPS_S if end_s / step <= most), days)


def ticks(end_s: float, most: int = 8) -> list[tuple[float, str]]:
    """The labelled times of the axis."""
    step = step_for(end_s, most)
    return [(i * step, units.tick(i * step, step)) for i in range(int(end_s / step + 1e-9) + 1)]


def clean(timeline: PodTimeline) -> tuple[PodTimeline, int]:
    """A timeline in which every time can be drawn, and how many records were left out for having none.

    A result may hold NaN where a clock or a file was damaged; drawing it would make the whole path invalid.
    """
    kept = replace(
        timeline,
        phases=tuple(p for p in timeline.phases if _ordered(p.from_s, p.to_s)),
        probes=tuple(p for p in timeline.probes if _ordered(p.started_at, p.ended_at)),
        stalls=tuple(s for s in timeline.stalls if _ordered(s.started_at, s.started_at + s.duration_s)),
        requests=tuple(r for r in timeline.requests if _ordered(r.due_at, r.sent_at, r.answered_at)),
        events=tuple(e for e in timeline.events if math.isfinite(e.at)),
        unready=tuple(u for u in timeline.unready if _ordered(*u)),
    )
    end_s = timeline.duration_s if math.isfinite(timeline.duration_s) else _end(kept)
    return replace(kept, duration_s=max(0.0, end_s)), _records(timeline) - _records(kept)


def _ordered(*times: float) -> bool:
    return all(map(math.isfinite, times)) and all(a <= b + 0.01 for a, b in pairwise(times))


def _records(timeline: PodTimeline) -> int:
    groups: Sequence[
        Sequence[Phase | ProbeRecord | Stall | Request | PodEvent | tuple[float, float]]
    ] = (
        timeline.phases, timeline.probes, timeline.stalls, timeline.requests, timeline.events, timeline.unready,
    )  # fmt: skip
    return sum(map(len, groups))
