"""What an observer has counted: stalls by request, cause and rule, how long they took, and the latest in full.

It is kept in the mapping, so that neither the observer's end nor a question to another worker's observer loses it.
Every key is bounded: a request the app has no route for is ``other``, and so is all beyond the first `SERIES`.
"""

from __future__ import annotations

from unstall.runtime.recorder import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    from unstall.runtime.mapping import Shared
    from unstall.runtime.routes import RouteTable

    Key = tuple[str, str, str]
    """Route, cause, rule."""

BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the buckets of a stall's length."""
SERIES = 200
RECENT = 32
FRAMES = 30
OTHER, NONE = "other", "none"
_CAUSES = {
    "cpu_s": "cpu", "syscall_s": "syscall", "lock_s": "lock", "gil_s": "gil",
    "run_queue_s": "run_queue", "throttled_s": "throttled", "suspended_s": "suspended",
}  # fmt: skip
_ENVIRONMENT = ("run_queue_s", "throttled_s", "suspended_s")


class Tally:
    """The counts of one worker; published whole after each change."""

    def __init__(self, shared: Shared, table: RouteTable) -> None:
        self._shared, self._table = shared, table
        found = shared.report.read_new()
        before: dict[str, Any] = found if isinstance(found, dict) and found.get("schema") == SCHEMA else {}
        self.counts: dict[Key, list[float]] = before.get("counts", {})
        """Per key: how many in each bucket, then their seconds."""
        self.recent: list[dict[str, Any]] = before.get("recent", [])
        self.ongoing: dict[str, Any] | None = None

    def hear(self, record: dict[str, Any]) -> None:
        """Take one record of a stall into account."""
        self._table.load(self._shared.table.read_new())
        short = {**record, "stack": record["stack"][:FRAMES]}
        if record["event"] in ("stall_ended", "killed"):
            self.ongoing = None
            self.recent = [*self.recent[-RECENT + 1 :], short]
            self._count(record)
        else:
            self.ongoing = short
        self._publish()

    def _count(self, record: dict[str, Any]) -> None:
        key = (bounded(record.get("route"), self._table), cause_of(record), record.get("rule") or NONE)
        if key not in self.counts and len(self.counts) >= SERIES:
            key = (OTHER, key[1], OTHER)
        row = self.counts.setdefault(key, [0.0] * (len(BOUNDS_S) + 2))
        duration_s = record["duration_s"]
        row[sum(duration_s > bound for bound in BOUNDS_S)] += 1.0
        row[-1] += duration_s

    def _publish(self) -> None:
        report = {"schema": SCHEMA, "counts": self.counts, "recent": self.recent, "ongoing": self.ongoing}
        while not self._shared.report.write(report) and report["recent"]:
            report["recent"] = self.recent = self.recent[len(self.recent) // 2 + 1 :]


def bounded(label: str | None, routes: Container[str]) -> str:
    """A request's label where the app has such a route; a path as it was asked for would be a label without bound."""
    if label is None:
        return NONE
    return label if label == "lifespan" or label in routes else OTHER


def cause_of(record: dict[str, Any]) -> str:
    """The cause that took most of a stall, in one word."""
    cause = record.get("cause") or {}
    names = _ENVIRONMENT if record.get("blame") == "environment" else tuple(_CAUSES)
    if not any(cause.get(name) for name in names):
        return "unknown"
    if names is not _ENVIRONMENT and (cause.get("gc_s") or 0.0) > record["duration_s"] / 2:
        return "gc"
    return _CAUSES[max(names, key=lambda name: cause.get(name) or 0.0)]


def added(into: dict[Key, list[float]], more: dict[Key, list[float]]) -> None:
    """Add one worker's counts to those of others."""
    for key, row in more.items():
        if key not in into and len(into) >= 2 * SERIES:
            key = (OTHER, key[1], OTHER)
        sums = into.setdefault(key, [0.0] * len(row))
        for i, value in enumerate(row):
            sums[i] += value
