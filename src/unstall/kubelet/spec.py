"""What of a pod matters to the kubelet's probes: Kubernetes' fields, after its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from unstall.model import Handler, ProbeSpec, ProbeType


@dataclass(frozen=True, slots=True)
class RestartRule:
    """One of a container's ``restartPolicyRules``: restart where the exit code is (``In``, ``NotIn``) one of these."""

    operator: str
    exit_codes: tuple[int, ...]
    action: str = "Restart"


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One container of a pod, as far as probes, kills and restarts go. Whole seconds.

    ``ports`` are the container's named ports; ``prestop`` is a handler, or a number of seconds for ``sleep``.
    ``path`` and ``line`` say where in a manifest the container stands.
    """

    container: str = "app"
    pod: str = "app"
    namespace: str = "default"
    uid: str = "00000000-0000-0000-0000-000000000000"
    probes: tuple[ProbeSpec, ...] = ()
    restart_policy: str = "Always"
    grace_s: int = 30
    ports: tuple[tuple[str, int], ...] = ()
    prestop: Handler | int | None = None
    poststart: Handler | int | None = None
    max_back_off_s: int = 300
    container_restart_policy: str | None = None
    """The container's own ``restartPolicy``; None means the pod's."""
    restart_rules: tuple[RestartRule, ...] = ()
    path: str = ""
    line: int = 0

    def probe(self, type: ProbeType) -> ProbeSpec | None:
        """The probe of one type, None where the container has none."""
        return next((probe for probe in self.probes if probe.type is type), None)
