"""What a probe is told: the worker that is worst off speaks for the pod.

Theory. *Alive* means that the loop will come back: it is doubted only after ``dead_after_s`` without any sign of it,
because a loop that is busy for twenty seconds is a slow pod and not a dead one. *Ready* means that a request sent now
is served soon: that ends after ``busy_after_s`` of a blocked loop or of a thread pool without a free thread, before
start-up is complete, and at shutdown. *Started* is a fact that stays: once told, it is never taken back.
Time in which the observer itself was frozen (a suspended machine, a frozen cgroup) is held against nobody.
"""

from __future__ import annotations

from unstall.runtime import mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Verdict = tuple[bool, dict[str, Any]]
    """Whether the probe passes, and the body that says why."""


class Limits:
    """How much patience there is. All in seconds; ``expected`` workers, 0 where that is not known."""

    __slots__ = ("busy_after_s", "dead_after_s", "expected")

    def __init__(self, dead_after_s: float, busy_after_s: float, expected: int = 0) -> None:
        self.dead_after_s, self.busy_after_s, self.expected = dead_after_s, busy_after_s, expected


class Worker:
    """One worker as its mapping shows it; ``number`` counts from 1, 0 where it is the only one."""

    __slots__ = ("cells", "gone", "holders", "number", "pid", "report", "shared")

    def __init__(self, shared: mapping.Shared, pid: int, number: int) -> None:
        self.shared, self.cells = shared, shared.cells
        self.pid, self.number = pid, number
        self.gone = False
        self.holders: dict[str, int] = {}
        self.report: dict[str, Any] = {}

    @property
    def started(self) -> bool:
        """Its start-up is complete, and its server accepts connections as far as that is known."""
        return self.cells[mapping.READY] > 0 and self.cells[mapping.SERVING] != mapping.NOT_YET

    @property
    def leaving(self) -> bool:
        """It shuts down, or has."""
        return self.cells[mapping.LEAVING] > 0 or self.cells[mapping.STATE] == mapping.STOPPED

    def silent_s(self, now: float, awake_since: float) -> float:
        """How long its loop has given no sign."""
        return max(0.0, now - max(self.cells[mapping.SIGN], self.cells[mapping.BEAT], awake_since))

    def blocked_s(self, now: float, awake_since: float) -> float:
        """How late its beat is: so long would a request wait that had come when the beat was due.

        Requests that block one after the other each give a sign as they enter; for who waits behind them all, they
        are one block.
        """
        return max(0.0, now - max(self.cells[mapping.BEAT] + self.cells[mapping.PERIOD], awake_since))

    def full_s(self, now: float, awake_since: float) -> float:
        """How long its thread pool has been full while somebody waited for a thread."""
        since = self.cells[mapping.POOL_FULL_SINCE]
        return max(0.0, now - max(since, awake_since)) if since else 0.0

    def holding(self) -> dict[str, int]:
        """The functions that hold the pool's threads, and how many each."""
        found = self.shared.holders.read_new()
        if isinstance(found, dict):
            self.holders = found
        return self.holders

    def who(self) -> dict[str, Any]:
        """How a body names it."""
        return {"worker": self.number, "pid": self.pid} if self.number else {"pid": self.pid}


def live(workers: Sequence[Worker], limits: Limits, now: float, awake_since: float) -> Verdict:
    """Whether every loop can be expected to come back."""
    for worker in workers:
        if worker.gone:
            return False, {"status": "dead", "reason": "the process is gone", **worker.who()}
    silent = [(worker.silent_s(now, awake_since), worker) for worker in workers]
    worst_s, worst = max(silent, key=lambda pair: pair[0], default=(0.0, None))
    if worst is not None and worst_s > limits.dead_after_s:
        reason = "no sign of the event loop"
        return False, {"status": "dead", "reason": reason, **worst.who(), **_for(worst_s, limits.dead_after_s)}
    body: dict[str, Any] = {"status": "alive", "workers": len(workers)}
    if worst is not None and worst_s > limits.busy_after_s:
        body |= {"reason": "event loop blocked", **worst.who(), **_for(worst_s, limits.dead_after_s)}
    return True, body


def started(workers: Sequence[Worker], limits: Limits) -> Verdict:
    """Whether start-up is complete, of as many workers as were asked for."""
    for worker in workers:
        if not worker.started:
            return False, {"status": "starting", "reason": "start-up is not complete", **worker.who()}
    if len(workers) < max(1, limits.expected):
        up = {"workers": len(workers), "expected": max(1, limits.expected)}
        return False, {"status": "starting", "reason": "workers are missing", **up}
    return True, {"status": "started", "workers": len(workers)}


def ready(workers: Sequence[Worker], limits: Limits, now: float, awake_since: float, was_started: bool) -> Verdict:
    """Whether a request sent now is served soon. ``was_started``: the pod's first start-up is over."""
    complete, body = started(workers, limits)
    serving = [worker for worker in workers if worker.started or not was_started]
    if not complete and (not was_started or not serving):
        return False, body
    for worker in serving:
        if worker.gone:
            return False, {"status": "not ready", "reason": "the process is gone", **worker.who()}
    leaving = [worker for worker in serving if worker.leaving]
    if len(leaving) == len(serving):
        return False, {"status": "not ready", "reason": "shutting down", **leaving[0].who()}
    # A worker that leaves on its own, to be replaced, has stopped accepting: the others serve.
    staying = [worker for worker in serving if not worker.leaving]
    for reason, worst_s, worst in (
        ("event loop blocked", *_worst(staying, [w.blocked_s(now, awake_since) for w in staying])),
        ("thread pool full", *_worst(staying, [w.full_s(now, awake_since) for w in staying])),
    ):
        if worst_s > limits.busy_after_s:
            body = {"status": "not ready", "reason": reason, **worst.who(), **_for(worst_s, limits.busy_after_s)}
            return False, body | (_pool(worst) if reason == "thread pool full" else {})
    return True, {"status": "ready", "workers": len(staying)}


def _worst(workers: Sequence[Worker], seconds: Sequence[float]) -> tuple[float, Worker]:
    at = max(range(len(seconds)), key=seconds.__getitem__)
    return seconds[at], workers[at]


def _for(seconds: float, limit_s: float) -> dict[str, float]:
    return {"for_s": round(seconds, 3), "limit_s": limit_s}


def _pool(worker: Worker) -> dict[str, Any]:
    cells = worker.cells
    return {
        "used": int(cells[mapping.POOL_USED]),
        "total": int(cells[mapping.POOL_TOTAL]),
        "waiting": int(cells[mapping.POOL_WAITING]),
        "held_by": worker.holding(),
    }
