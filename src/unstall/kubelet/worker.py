"""One probe of one container: when it runs, what its results add up to.

A worker is a loop around a ticker. It runs once when it is born, then at every tick, and, for readiness, whenever
a pod sync triggers it. The ticker's phase is fixed by the worker's birth, not by the container's start; it lives
on across container restarts. A tick that falls into a running probe is kept, one at most, so a probe slower than its
period runs back to back. A trigger is kept in the same way; when it is taken, the ticker starts anew from there.

One run asks these questions in this order; the first that matches decides (`Worker.run_once`):

    the pod is over (phase Failed or Succeeded)           the worker ends
    no container yet                                      wait
    another container than last time                      publish the initial value, come off hold, go on
    on hold                                               wait
    container not running                                 publish Failure; the worker ends where no restart comes
    pod being deleted, and not readiness                  publish Success, the worker ends
    whole seconds since the start < initial delay         wait (the start is truncated to whole seconds)
    startup probe of a started container                  wait
    another probe of a container not yet started          wait
    none of these                                         probe

Results add up in `Worker.record`: a run of equal results as long as its threshold is published; the run survives a
restart that another cause made. After a liveness failure and after any startup result the worker is on hold until
there is a new container. A prober's error neither counts nor resets.
"""

from __future__ import annotations

import math
from enum import Enum

from unstall.kubelet.wishes import StartProbe, Value
from unstall.model import ProbeSpec, ProbeType

MAX_TRIES = 3
"""Tries of one probe while the prober itself errs."""
RESTART_GRACE_S = 10.0
"""A container this much older than the kubelet keeps the values it had."""
EDGE_S = 1e-6
"""Two times closer than this are the same instant: sums of floats are not exact."""
NEVER = math.inf

INITIAL = {
    ProbeType.STARTUP: Value.UNKNOWN,
    ProbeType.READINESS: Value.FAILURE,
    ProbeType.LIVENESS: Value.SUCCESS,
}


class Step(Enum):
    """What one run of a worker came to."""

    WAIT = 0
    PROBE = 1
    END = 2


# Members looked up once: on Python 3.11 looking one up on its enum is slow.
_STEP_WAIT, _STEP_PROBE, _STARTUP, _READINESS = Step.WAIT, Step.PROBE, ProbeType.STARTUP, ProbeType.READINESS
_LIVENESS, _VALUE_SUCCESS, _VALUE_FAILURE = ProbeType.LIVENESS, Value.SUCCESS, Value.FAILURE


class CachedStatus:
    """The container as the kubelet's status cache has it, written by pod syncs only, so possibly out of date.

    ``instance`` is None before the first container; ``state`` is waiting, running or terminated;
    ``started_at`` is truncated to whole seconds of the wall clock; ``restartable`` says whether a container that
    terminated will be started again.
    """

    __slots__ = ("deleting", "instance", "over", "restartable", "started", "started_at", "state")

    def __init__(self) -> None:
        self.instance: int | None = None
        self.state = "waiting"
        self.started = False
        self.started_at = 0.0
        self.restartable = True
        self.deleting = False
        self.over = False


class Worker:
    """The worker of one probe. The pod drives it; ``instance`` and ``value`` are its entry in the result cache."""

    __slots__ = (
        "attempt",
        "awake",
        "ended",
        "first_try",
        "ft",
        "instance",
        "last",
        "on_hold",
        "period_s",
        "probe",
        "probing",
        "run",
        "st",
        "tick_at",
        "triggered",
        "type",
        "value",
    )

    def __init__(self, probe: ProbeSpec, born_at: float) -> None:
        self.probe = probe
        self.first_try = StartProbe(probe.type, probe)
        self.type = probe.type
        self.period_s = probe.period_s
        self.ft = probe.failure_threshold
        self.st = probe.success_threshold
        self.tick_at = born_at
        self.awake = False
        """False until the first run: a worker born beside a young kubelet sleeps a part of its period."""
        self.probing = False
        self.attempt = 0
        self.triggered = False
        self.on_hold = False
        self.instance: int | None = None
        self.value: Value | None = None
        self.last: Value | None = None
        self.run = 0
        self.ended = False

    @property
    def wakes_at(self) -> float:
        """When the worker runs next by itself; never while a probe of it is under way."""
        return NEVER if self.probing or self.ended else self.tick_at

    def take_tick(self, now: float) -> None:
        """Take the tick that is due; those that fell behind it are lost, the phase stays."""
        behind = (now - self.tick_at) / self.period_s
        self.tick_at += self.period_s * (math.floor(behind + EDGE_S) + 1)

    def take_trigger(self, now: float) -> None:
        """Take the trigger that was kept; the ticker starts anew."""
        self.triggered = False
        self.tick_at = now + self.period_s

    def run_once(self, status: CachedStatus, now: float, kubelet_started_at: float) -> tuple[Step, list[Value]]:
        """One run, see the table above: what to do, and the changes to publish."""
        changes: list[Value] = []
        if status.over:
            return Step.END, changes
        if status.instance is None:
            return _STEP_WAIT, changes
        if status.instance != self.instance:
            self.instance = status.instance
            self.value = None
            self.on_hold = False
            if status.state != "running" or status.started_at >= kubelet_started_at - RESTART_GRACE_S:
                self._publish(INITIAL[self.type], changes)
        if self.on_hold:
            return _STEP_WAIT, changes
        if status.state != "running":
            self._publish(_VALUE_FAILURE, changes)
            return (_STEP_WAIT if status.restartable else Step.END), changes
        if status.deleting and self.type is not _READINESS:
            self._publish(_VALUE_SUCCESS, changes)
            return Step.END, changes
        if math.floor(now - status.started_at + EDGE_S) < self.probe.initial_delay_s:
            return _STEP_WAIT, changes
        if status.started is (self.type is _STARTUP):
            return _STEP_WAIT, changes
        self.probing = True
        self.attempt = 1
        return _STEP_PROBE, changes

    def record(self, passed: bool) -> list[Value]:
        """Count one result; the change to publish, if there is one."""
        changes: list[Value] = []
        result = _VALUE_SUCCESS if passed else _VALUE_FAILURE
        self.run = self.run + 1 if result is self.last else 1
        self.last = result
        if self.run < (self.st if passed else self.ft):
            return changes
        self._publish(result, changes)
        if self.type is _STARTUP or (self.type is _LIVENESS and not passed):
            self.on_hold = True
            self.run = 0
        return changes

    def _publish(self, value: Value, changes: list[Value]) -> None:
        if self.value is not value:
            self.value = value
            changes.append(value)
