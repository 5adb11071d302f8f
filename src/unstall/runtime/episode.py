"""One stall as evidence gathers, and the records that are written of it."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

from unstall.runtime.recorder import SCHEMA
from unstall.runtime.sample import Line, Sample


class Episode:
    """A stall from the moment it is seen. ``start`` and all times are monotonic seconds."""

    def __init__(self, start: float, threshold_s: float) -> None:
        self.start = start
        self.threshold_s = threshold_s
        self.samples: list[Sample] = []
        self.in_flight: tuple[str, ...] = ()
        self.cause: dict[str, float | None] = {}
        self.blame = "code"
        self.told_s = 0.0
        """How long the stall had lasted when it was last recorded."""

    def add(self, seen: Sample | None) -> None:
        """Take one more sample into account; of a long stall the first and the latest are kept."""
        if seen is not None:
            if len(self.samples) >= 256:
                del self.samples[64:192:2]
            self.samples.append(seen)

    @property
    def guilty(self) -> Sample | None:
        """The sample that stands for the stall: one at the site seen most often, the earliest of those."""
        if not self.samples:
            return None
        sites = collections.Counter(_site_key(s.stack) for s in self.samples)
        best = max(sites.values())
        ranked = [s for s in self.samples if sites[_site_key(s.stack)] == best]
        return next((s for s in ranked if s.route is not None), ranked[0])

    def event(self, name: str, duration_s: float, now_wall: float, now: float, who: dict[str, Any]) -> dict[str, Any]:
        """The record of ``name`` (stall_began, stall_update, stall_ended, killed) at ``now``."""
        seen = self.guilty
        stack = seen.stack if seen is not None else ()
        where = site(stack)
        return {
            "schema": SCHEMA,
            "event": name,
            **who,
            "started_at": round(now_wall - (now - self.start), 6),
            "monotonic": round(self.start, 6),
            "duration_s": round(duration_s, 6),
            "threshold_s": self.threshold_s,
            "site": where and {"path": where.path, "line": where.line, "function": where.function, "own": where.own},
            "stack": [line._asdict() for line in stack],
            "route": seen.route if seen is not None else None,
            "route_proof": seen.route_proof if seen is not None else None,
            "in_flight": list(self.in_flight),
            "rule": None,
            "cause": self.cause,
            "blame": self.blame,
        }


def site(stack: Sequence[Line]) -> Line | None:
    """The line to blame: the innermost of the application's own, else the innermost outside the event loop."""
    own = next((line for line in stack if line.own), None)
    if own is not None:
        return own
    return next((line for line in stack if not _LOOP.intersection(line.path.split("/"))), None)


# Where a stack without any own frame ends in the machinery that merely waits.
_LOOP = frozenset(
    {
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
        "asyncio",
        "selectors.py",
        "uvloop",
        "uvicorn",
        "runtime",
    }
)


def _site_key(stack: Sequence[Line]) -> tuple[str, int]:
    where = site(stack)
    return (where.path, where.line) if where is not None else ("", 0)
