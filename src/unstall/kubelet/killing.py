"""How long a container has to leave once the kubelet decided to kill it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from unstall.model import ProbeType

MINIMUM_GRACE_S = 2
"""Whatever the spec says, SIGKILL never follows SIGTERM sooner."""


class KillReason(StrEnum):
    """Why a container is killed, in Kubernetes' words."""

    LIVENESS = "LivenessProbe"
    STARTUP = "StartupProbe"
    POST_START = "FailedPostStartHook"
    UNKNOWN = "Unknown"


PROBE_OF = {KillReason.LIVENESS: ProbeType.LIVENESS, KillReason.STARTUP: ProbeType.STARTUP}
"""The probe whose own grace counts."""


@dataclass(frozen=True, slots=True)
class KillTimes:
    """Seconds after the kill decision. ``stop_timeout_s`` is what the container runtime is told."""

    sigterm_after_s: float
    stop_timeout_s: int
    sigkill_after_s: float


def grace(
    reason: KillReason,
    pod_grace_s: int | None,
    probe_grace_s: int | None = None,
    deletion_grace_s: int | None = None,
    override_s: int | None = None,
) -> int:
    """The grace period before the preStop hook is taken off, in seconds.

    First match: an override (eviction, hard kill), the grace of a deletion, the probe's own where a probe is the
    reason, the pod's. A pod without any has 0, whatever the probe says.
    """
    if override_s is not None:
        return override_s
    if deletion_grace_s is not None:
        return deletion_grace_s
    if pod_grace_s is None:
        return 0
    if probe_grace_s is not None and reason in (KillReason.LIVENESS, KillReason.STARTUP):
        return probe_grace_s
    return pod_grace_s


def kill_times(grace_s: int, prestop_takes_s: float | None = None) -> KillTimes:
    """When SIGTERM and SIGKILL fall. ``prestop_takes_s`` None means that there is no hook.

    The hook runs first, for the grace at most, and takes its whole seconds off the grace. Without grace it is not
    run at all.
    """
    waited_s = min(prestop_takes_s, grace_s) if prestop_takes_s is not None and grace_s > 0 else 0.0
    timeout_s = max(MINIMUM_GRACE_S, grace_s - math.floor(waited_s + 1e-6))
    return KillTimes(waited_s, timeout_s, waited_s + timeout_s)
