"""The pod's figures as Prometheus reads them: text, one sample a line."""

from __future__ import annotations

import os

from unstall.runtime import mapping
from unstall.runtime.tally import BOUNDS_S, added

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from unstall.runtime.health import Worker
    from unstall.runtime.tally import Key

KIND = "text/plain; version=0.0.4; charset=utf-8"
FUNCTIONS_SHOWN = 10
DEPARTED_KEPT = 64


class Departed:
    """The counts of workers that ended: a counter must not fall because a worker was replaced."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, float], tuple[dict[Key, list[float]], list[float]]] = {}
        self._counts: dict[Key, list[float]] = {}
        self._sums = [0.0] * (len(mapping.LAG_BOUNDS_S) + 3)
        self._cpu: dict[int, float] = {}

    def add(self, worker: Worker) -> None:
        """This worker is not seen any more; it may come back, when only its observer had died."""
        self._last[_identity(worker)] = counts_of(worker), sums_of(worker)
        if len(self._last) > DEPARTED_KEPT:
            counts, sums = self._last.pop(next(iter(self._last)))
            added(self._counts, counts)
            self._sums = [a + b for a, b in zip(self._sums, sums, strict=True)]

    def totals(self, workers: Sequence[Worker]) -> tuple[dict[Key, list[float]], list[float]]:
        """Stall counts and the other sums (`sums_of`) of all who ever were, each once."""
        present = {_identity(worker) for worker in workers}
        rows = [row for who, row in self._last.items() if who not in present]
        rows += [(counts_of(worker), sums_of(worker)) for worker in workers]
        counts: dict[Key, list[float]] = {}
        added(counts, self._counts)
        total = self._sums
        for more, sums in rows:
            added(counts, more)
            total = [a + b for a, b in zip(total, sums, strict=True)]
        return counts, total

    def cpu_s(self, pids: Iterable[int]) -> float:
        """CPU time of all observers that ever were, as last seen of those that ended."""
        for pid in pids:
            self._cpu[pid] = max(cpu_s(pid), self._cpu.get(pid, 0.0))
        return sum(self._cpu.values())


def _identity(worker: Worker) -> tuple[int, float]:
    """One process may have several loops, each with an observer."""
    return worker.pid, worker.cells[mapping.THREAD]


def counts_of(worker: Worker) -> dict[Key, list[float]]:
    """The stalls that the worker's observer has counted."""
    found = worker.shared.report.read_new()
    if isinstance(found, dict):
        worker.report = found
    counts: dict[Key, list[float]] = worker.report.get("counts", {})
    return counts


def sums_of(worker: Worker) -> list[float]:
    """How many beats were how late, the sum of that in seconds, and how often the thread pool was full."""
    cells, buckets = worker.cells, len(mapping.LAG_BOUNDS_S) + 1
    return [*cells[mapping.LAG : mapping.LAG + buckets], cells[mapping.LAG_SUM], cells[mapping.POOL_FULLS]]


def render(workers: Sequence[Worker], departed: Departed, facts: dict[str, Any], now: float) -> bytes:
    """All metrics. ``facts``: the version and loop of the app, and from when time counts (``awake_since``)."""
    counts, sums = departed.totals(workers)
    lines: list[str] = []
    _stalls(lines, counts)
    head = _head(lines, "unstall_event_loop_lag_seconds", "histogram", "How late each beat of the event loop was.")
    _histogram(lines, head, "", mapping.LAG_BOUNDS_S, sums[:-1])
    awake = facts["awake_since"]
    blocked = max((w.blocked_s(now, awake) for w in workers if w.started and not w.leaving), default=0.0)
    blocked = blocked if blocked >= facts["threshold_s"] else 0.0
    _one(lines, "unstall_event_loop_blocked_seconds", "gauge", "How long the event loop is blocked now.", blocked)
    in_flight = sum(len(w.shared.in_flight(mapping.SLOTS)) + w.cells[mapping.UNSEEN] for w in workers)
    _one(lines, "unstall_requests_in_flight", "gauge", "Requests in flight.", in_flight)
    _pool(lines, workers, sums[-1])
    _one(lines, "unstall_workers", "gauge", "Workers that are watched.", len(workers))
    _observers(lines, workers, departed)
    head = _head(lines, "unstall_watch_info", "gauge", "What is watched, by which version.")
    lines.append(f"{head}{_labels(version=facts['version'], loop=facts['loop'])} 1")
    return ("\n".join(lines) + "\n").encode()


def _stalls(lines: list[str], counts: dict[Key, list[float]]) -> None:
    head = _head(lines, "unstall_stalls_total", "counter", "Stalls of the event loop that are over.")
    for (route, cause, rule), row in sorted(counts.items()):
        lines.append(f"{head}{_labels(route=route, cause=cause, rule=rule)} {_number(sum(row[:-1]))}")
    lengths: dict[tuple[str, str], list[float]] = {}
    for (route, cause, _), row in counts.items():
        sums = lengths.setdefault((route, cause), [0.0] * len(row))
        lengths[route, cause] = [a + b for a, b in zip(sums, row, strict=True)]
    head = _head(lines, "unstall_event_loop_stall_seconds", "histogram", "How long the event loop was blocked.")
    for (route, cause), row in sorted(lengths.items()):
        _histogram(lines, head, _labels(route=route, cause=cause)[1:-1], BOUNDS_S, row)


def _pool(lines: list[str], workers: Sequence[Worker], fulls: float) -> None:
    def total(cell: int) -> float:
        return sum(worker.cells[cell] for worker in workers)

    head = _head(lines, "unstall_threadpool_tokens", "gauge", "Threads of the pool for `def` endpoints.")
    lines.append(f'{head}{{state="used"}} {_number(total(mapping.POOL_USED))}')
    lines.append(f'{head}{{state="total"}} {_number(total(mapping.POOL_TOTAL))}')
    text = "Calls that wait for a thread of the pool."
    _one(lines, "unstall_threadpool_waiting", "gauge", text, total(mapping.POOL_WAITING))
    text = "How often the pool was full and calls waited."
    _one(lines, "unstall_threadpool_full_total", "counter", text, fulls)
    text = "Threads that each function holds while the pool is full."
    head = _head(lines, "unstall_threadpool_held", "gauge", text)
    held: dict[str, int] = {}
    for worker in workers:
        if worker.cells[mapping.POOL_FULL_SINCE]:
            for function, count in worker.holding().items():
                held[function] = held.get(function, 0) + count
    ranked = sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[FUNCTIONS_SHOWN:])
    for function, count in [*ranked[:FUNCTIONS_SHOWN], *([("other", rest)] if rest else [])]:
        lines.append(f"{head}{_labels(function=function)} {count}")


def _observers(lines: list[str], workers: Sequence[Worker], departed: Departed) -> None:
    pids = [int(worker.cells[mapping.WATCHING]) for worker in workers]
    text = "CPU time of the observer processes."
    _one(lines, "unstall_observer_cpu_seconds_total", "counter", text, departed.cpu_s(pids))
    text = "Memory of the observer processes, what they share counted in parts."
    _one(lines, "unstall_observer_memory_bytes", "gauge", text, sum(map(memory_bytes, pids)))


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far; 0 where that cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process; 0 where that cannot be read."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as f:
            text = f.read()
        return int(text.partition(b"\nPss:")[2].split(None, 1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        return 0


def _head(lines: list[str], name: str, kind: str, text: str) -> str:
    lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")
    return name


def _one(lines: list[str], name: str, kind: str, text: str, value: float) -> None:
    lines.append(f"{_head(lines, name, kind, text)} {_number(value)}")


def _histogram(lines: list[str], name: str, labels: str, bounds: Iterable[float], row: Sequence[float]) -> None:
    """``row``: how many in each bucket, the last without an upper end, then the sum of all values."""
    before = f"{labels}," if labels else ""
    count = 0.0
    for bound, more in zip((*map(_number, bounds), "+Inf"), row[:-1], strict=True):
        count += more
        lines.append(f'{name}_bucket{{{before}le="{bound}"}} {_number(count)}')
    around = f"{{{labels}}}" if labels else ""
    lines.append(f"{name}_sum{around} {_number(row[-1])}")
    lines.append(f"{name}_count{around} {_number(count)}")


def _labels(**values: str) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))
