"""What of a pod matters to the kubelet's probes: Kubernetes' fields, after its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unstall.model import Exec, Grpc, Handler, HttpGet, ProbeSpec, ProbeType, TcpSocket


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
    env: tuple[tuple[str, str], ...] = ()
    """The container's variables whose value stands in the manifest: what ``$(NAME)`` in a command means."""
    path: str = ""
    line: int = 0

    def probe(self, type: ProbeType) -> ProbeSpec | None:
        """The probe of one type, None where the container has none."""
        return next((probe for probe in self.probes if probe.type is type), None)


def container_spec(pod: dict[str, Any], container: dict[str, Any], name: str, namespace: str) -> PodSpec:
    """One container of a pod spec that was defaulted and found valid.

    >>> pod = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30}
    >>> container_spec(pod, {"name": "app"}, "web", "default").grace_s
    30
    """
    hooks = container.get("lifecycle") or {}
    return PodSpec(
        container=container["name"],
        pod=name,
        namespace=namespace,
        probes=tuple(probe_spec(type, container[f"{type}Probe"]) for type in ProbeType if f"{type}Probe" in container),
        restart_policy=pod["restartPolicy"],
        grace_s=pod["terminationGracePeriodSeconds"],
        ports=tuple((port["name"], port["containerPort"]) for port in container.get("ports") or [] if port.get("name")),
        prestop=hook(hooks.get("preStop")),
        poststart=hook(hooks.get("postStart")),
        container_restart_policy=container.get("restartPolicy"),
        restart_rules=tuple(
            RestartRule(rule["exitCodes"]["operator"], tuple(rule["exitCodes"].get("values") or []), rule["action"])
            for rule in container.get("restartPolicyRules") or []
        ),
        env=tuple(
            (variable["name"], variable.get("value", ""))
            for variable in container.get("env") or []
            if "valueFrom" not in variable
        ),
    )


def probe_spec(type: ProbeType, probe: dict[str, Any]) -> ProbeSpec:
    """One probe from its defaulted and valid fields."""
    return ProbeSpec(
        type=type,
        handler=handler(probe),
        period_s=probe["periodSeconds"],
        timeout_s=probe["timeoutSeconds"],
        failure_threshold=probe["failureThreshold"],
        success_threshold=probe["successThreshold"],
        initial_delay_s=probe.get("initialDelaySeconds", 0),
        grace_s=probe.get("terminationGracePeriodSeconds"),
    )


def handler(holder: dict[str, Any]) -> Handler:
    """The one handler of a probe or a hook."""
    if "exec" in holder:
        return Exec(tuple(holder["exec"]["command"]))
    if "httpGet" in holder:
        get = holder["httpGet"]
        headers = tuple((header["name"], header.get("value", "")) for header in get.get("httpHeaders") or [])
        return HttpGet(get["port"], get["path"], get["scheme"], get.get("host") or None, headers)
    if "tcpSocket" in holder:
        return TcpSocket(holder["tcpSocket"]["port"], holder["tcpSocket"].get("host") or None)
    return Grpc(holder["grpc"]["port"], holder["grpc"]["service"])


def hook(holder: dict[str, Any] | None) -> Handler | int | None:
    """A hook's handler, or the seconds that it sleeps."""
    if holder is None:
        return None
    return int(holder["sleep"].get("seconds", 0)) if "sleep" in holder else handler(holder)
