"""One stall as evidence gathers, and the records that are written of it."""

from __future__ import annotations

from unstall.runtime.recorder import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Line = tuple[str, int, str, bool]
    """One frame: path, line, function, and whether the file belongs to the application."""

# How a route was proved, best first; see sample.py and routes.py.
_PROOFS = {"frame": 0, "task": 1, "callback": 2, "table": 3, None: 4}
IN_FLIGHT_SHOWN = 20
STACK_SHOWN = 100
PUBLISHED = 8


class Sample:
    """What was seen at ``at`` (monotonic): frames innermost first, the request and how it was proved."""

    __slots__ = ("at", "call", "route", "route_proof", "stack")

    def __init__(
        self,
        at: float,
        stack: tuple[Line, ...],
        route: str | None = None,
        route_proof: str | None = None,
        call: str | None = None,
    ) -> None:
        self.at, self.stack, self.route, self.route_proof = at, stack, route, route_proof
        self.call = call
        """Origin path of what the first own line calls, as ``time.sleep``; None where not known."""

    def plain(self) -> tuple[Any, ...]:
        """Itself as plain types, for the mapping."""
        return self.at, self.stack, self.route, self.route_proof, self.call


class Episode:
    """A stall from the moment it is seen. ``start`` and all times are monotonic seconds."""

    def __init__(self, start: float, threshold_s: float) -> None:
        self.start = start
        self.threshold_s = threshold_s
        self.samples: list[Sample] = []
        self.in_flight: tuple[str, ...] = ()
        self.cause: dict[str, float | None] = {}
        self.blame = "code"
        self.rule: str | None = None
        self.remedy: str | None = None
        self.late_s: float | None = None
        self.started_at: float | None = None
        """On the wall clock, as first told."""
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
        """The sample that stands for the stall: at the site seen most often, the app's own, the best proved, the earliest."""
        counts: dict[tuple[str, int], int] = {}
        for seen in self.samples:
            key = _key(seen.stack)
            counts[key] = counts.get(key, 0) + 1
        if counts.get(("", 0)) and len(counts) > 1:
            del counts[("", 0)]
        if not counts:
            return None
        most = max(counts.values())
        ranked = [s for s in self.samples if counts.get(_key(s.stack)) == most]
        return min(ranked, key=lambda s: (not is_own(s.stack), _PROOFS.get(s.route_proof, 4), s.call is None))

    @property
    def located(self) -> bool:
        """True where code was seen at work, not only a loop that waits for its next event."""
        seen = self.guilty
        return seen is not None and site(seen.stack) is not None

    def publish(self, write: Callable[[Any], bool], final: bool) -> None:
        """Hand the samples to the observer, the first ones and the latest, as many as there is room for."""
        samples = self.samples
        if len(samples) > PUBLISHED:
            samples = samples[: PUBLISHED // 2] + samples[-PUBLISHED // 2 :]
        plain = tuple(s.plain() for s in samples)
        while plain and not write((self.start, plain, self.in_flight, final)):
            plain = plain[: len(plain) // 2]

    def event(self, name: str, duration_s: float, started_at: float, who: dict[str, Any]) -> dict[str, Any]:
        """The record of ``name`` (stall_began, stall_update, stall_ended, killed); ``started_at`` is wall time."""
        seen = self.guilty
        stack = seen.stack if seen is not None else ()
        where = site(stack)
        record = {
            "schema": SCHEMA,
            "event": name,
            **who,
            "started_at": round(started_at, 6),
            "monotonic": round(self.start, 6),
            "duration_s": round(duration_s, 6),
            "threshold_s": self.threshold_s,
            "site": where and _frame(where),
            "stack": [_frame(line) for line in stack[:STACK_SHOWN]],
            "route": seen.route if seen is not None else None,
            "route_proof": seen.route_proof if seen is not None else None,
            "in_flight": list(self.in_flight),
            "call": seen.call if seen is not None else None,
            "rule": self.rule,
            "remedy": self.remedy,
            "cause": self.cause,
            "blame": self.blame,
        }
        if self.late_s is not None:
            record["late_s"] = round(self.late_s, 6)
        return record


def _frame(line: Line) -> dict[str, Any]:
    path, number, function, own = line
    return {"path": path, "line": number, "function": function, "own": own}


def site(stack: Sequence[Line]) -> Line | None:
    """The line to blame: the innermost of the application's own, else the innermost, unless the loop only waits."""
    own = next((line for line in stack if line[3]), None)
    if own is not None:
        return own
    for line in stack:
        if not line[0].startswith("<frozen "):
            return line if _MACHINERY.isdisjoint(line[0].split("/")) else None
    return None


# Where a stack without any own frame merely waits for the next event.
_MACHINERY = frozenset({"asyncio", "selectors.py", "uvloop", "uvicorn", "click", "unstall"})


def is_own(stack: Sequence[Line]) -> bool:
    """Whether the application's own code is on the stack."""
    return any(own for _, _, _, own in stack)


def _key(stack: Sequence[Line]) -> tuple[str, int]:
    where = site(stack)
    return (where[0], where[1]) if where is not None else ("", 0)
