"""The words that the machine and its driver share: outcomes in, wishes out, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from unstall.kubelet.killing import KillReason, KillTimes, kill_times
from unstall.model import Handler, PodEvent, ProbeSpec, ProbeType


class Outcome(StrEnum):
    """How one try of a probe ended, as a prober says it. ``ERROR`` is the prober's own failure: it never counts."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"
    ERROR = "error"


COUNTED = {Outcome.SUCCESS: True, Outcome.WARNING: True, Outcome.FAILURE: False, Outcome.UNKNOWN: False}
"""What an outcome counts as; `Outcome.ERROR` counts as nothing."""


class State(StrEnum):
    """Where the pod's one container stands, as far as the kubelet knows."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    KILLING = "killing"
    DEAD = "dead"
    OVER = "over"


class Value(StrEnum):
    """What a worker publishes about a container."""

    SUCCESS = "Success"
    FAILURE = "Failure"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Run one try of this probe now, then say how it went with `Pod.probe_ended`.

    ``attempt`` counts from 1; the machine asks for up to 3 tries itself, so a prober never retries.
    """

    type: ProbeType
    probe: ProbeSpec
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start the container now, then say so with `Pod.container_started`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop the container: preStop first, then SIGTERM, then SIGKILL. `Pod.container_exited` ends it.

    ``grace_s`` is the whole grace, the preStop hook included; `times` says what is left of it.
    """

    grace_s: int
    reason: KillReason
    message: str
    prestop: Handler | int | None = None

    def times(self, prestop_takes_s: float | None = None) -> KillTimes:
        """When the signals fall, in seconds after the kill; ``prestop_takes_s`` how long the hook ran by itself."""
        if prestop_takes_s is None and isinstance(self.prestop, int):
            prestop_takes_s = self.prestop
        return kill_times(self.grace_s, None if self.prestop is None else prestop_takes_s)


@dataclass(frozen=True, slots=True)
class Published:
    """A worker's published value changed; ``instance`` is the container it is about, counted from 0."""

    type: ProbeType
    value: Value
    instance: int


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A pod sync computed another ``started`` or ``ready`` than the sync before."""

    started: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class ReadyChanged:
    """The container's readiness in the API, and so its place behind the Service, changed."""

    ready: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """The restart was refused: ``CrashLoopBackOff`` with this message. It cannot start before ``until``."""

    message: str
    back_off_s: float
    until: float


Wish = StartProbe | StartContainer | Kill | Published | StatusChanged | ReadyChanged | Waiting | PodEvent
