"""What one pod sync kills and what it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unstall.kubelet.killing import KillReason
from unstall.kubelet.spec import RestartRule

_PROBE_KILLS = (("liveness", KillReason.LIVENESS), ("startup", KillReason.STARTUP))
"""The first that failed gives the reason."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container as a sync finds it. ``state`` is running, exited or never_started; ``liveness`` and
    ``startup`` are the cached values of its probes, None where there is none."""

    name: str
    state: str
    exit_code: int = 0
    liveness: str | None = None
    startup: str | None = None
    restart_policy: str | None = None
    restart_rules: tuple[RestartRule, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerKill:
    """A container to kill, why, and the text of the event."""

    container: str
    reason: KillReason
    message: str


@dataclass(frozen=True, slots=True)
class PodActions:
    """What the sync does. With ``kill_pod`` every running container is stopped with the pod's grace and the text
    ``Stopping container <c>``, whatever ``kill`` says, and the pod is over."""

    kill: tuple[ContainerKill, ...]
    start: tuple[str, ...]
    kill_pod: bool


def restarts_after_exit(
    exit_code: int,
    pod_policy: str,
    container_policy: str | None = None,
    rules: Sequence[RestartRule] = (),
) -> bool:
    """Whether a container that exited is started again: its rules, then its own policy, then the pod's."""
    for rule in rules:
        if (exit_code in rule.exit_codes) is (rule.operator == "In"):
            return True
    policy = container_policy or pod_policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def pod_actions(pod_policy: str, containers: Sequence[ContainerState]) -> PodActions:
    """What to kill and start. After a failed probe neither exit code nor rules are asked, only the policy."""
    kills: list[ContainerKill] = []
    starts: list[str] = []
    kept = 0
    for c in containers:
        if c.state != "running":
            if c.state == "never_started" or restarts_after_exit(
                c.exit_code, pod_policy, c.restart_policy, c.restart_rules
            ):
                starts.append(c.name)
            continue
        failed = next(((p, r) for p, r in _PROBE_KILLS if getattr(c, p) == "Failure"), None)
        if failed is None:
            kept += 1
            continue
        restart = (c.restart_policy or pod_policy) != "Never"
        text = f"Container {c.name} failed {failed[0]} probe" + (", will be restarted" if restart else "")
        kills.append(ContainerKill(c.name, failed[1], text))
        if restart:
            starts.append(c.name)
    return PodActions(tuple(kills), tuple(starts), kept == 0 and not starts)
