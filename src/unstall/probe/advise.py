"""What is unsafe about the probes of a container: one small function a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unstall import units
from unstall.model import Exec, HttpGet, ProbeType, TcpSocket
from unstall.probe.workload import Workload


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding about a manifest: rule, where, and a sentence. ``field`` is the container's field it is about."""

    rule: str
    path: str
    line: int
    text: str
    field: str = ""


Found = Iterator[tuple[str, str]]
"""(field of the container, sentence)"""


def advise(workload: Workload, longest_s: float | None = None) -> list[Advice]:
    """Everything the rules find in one container, by rule; ``longest_s`` is the longest stall, where known."""
    return [
        Advice(rule, workload.spec.path, workload.line(field), text, field)
        for rule, find in RULES.items()
        for field, text in find(workload, longest_s)
    ]


def default_timeout(workload: Workload, longest_s: float | None) -> Found:
    """UNS301"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and not workload.written("livenessProbe.timeoutSeconds") and _asks_http(workload):
        yield "livenessProbe", "liveness timeout is the 1 s default"


def _asks_http(workload: Workload) -> bool:
    probe = workload.spec.probe(ProbeType.LIVENESS)
    return probe is not None and isinstance(probe.handler, HttpGet)


def same_patience(workload: Workload, longest_s: float | None) -> Found:
    """UNS302"""
    liveness, readiness = workload.spec.probe(ProbeType.LIVENESS), workload.spec.probe(ProbeType.READINESS)
    if liveness is None or readiness is None or liveness.handler != readiness.handler:
        return
    if (liveness.period_s, liveness.timeout_s, liveness.failure_threshold) == (
        readiness.period_s,
        readiness.timeout_s,
        readiness.failure_threshold,
    ):
        yield "livenessProbe", "liveness and readiness ask the same path with the same patience"


_DEPENDENCIES = re.compile(r"ready|readiness|deep|full|depend|database|\bdb\b", re.I)


def dependencies(workload: Workload, longest_s: float | None) -> Found:
    """UNS303"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, HttpGet) and _DEPENDENCIES.search(probe.handler.path):
        text = f"liveness asks {probe.handler.path}: if it asks a dependency, its outage restarts every pod"
        yield "livenessProbe.httpGet.path", text


def no_startup(workload: Workload, longest_s: float | None) -> Found:
    """UNS304"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and workload.spec.probe(ProbeType.STARTUP) is None:
        allowed_s = probe.initial_delay_s + probe.failure_threshold * probe.period_s
        yield "livenessProbe", f"no startup probe: a start slower than {allowed_s} s is killed before it is ready"


def tcp_liveness(workload: Workload, longest_s: float | None) -> Found:
    """UNS305"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, TcpSocket):
        yield "livenessProbe.tcpSocket", "TCP liveness passes on a blocked event loop: the kernel accepts connections"


def exec_liveness(workload: Workload, longest_s: float | None) -> Found:
    """UNS306"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, Exec):
        a_day = units.count(86400 // probe.period_s)
        yield "livenessProbe.exec", f"exec liveness starts a process in the container {a_day} times a day"


def timeout_above_period(workload: Workload, longest_s: float | None) -> Found:
    """UNS307"""
    for probe in workload.spec.probes:
        if probe.timeout_s > probe.period_s:
            text = f"{probe.type} timeout {probe.timeout_s} s is above its period {probe.period_s} s: probes run back to back"
            yield f"{probe.type}Probe.timeoutSeconds", text


def short_grace(workload: Workload, longest_s: float | None) -> Found:
    """UNS308"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    grace_s = probe.grace_s if probe is not None and probe.grace_s is not None else workload.spec.grace_s
    if longest_s is not None and longest_s > grace_s:
        text = f"grace {grace_s} s is shorter than the longest stall, {units.moment(longest_s)}: SIGKILL comes before SIGTERM is heard"
        yield "livenessProbe" if probe is not None else "", text


def unknown_port(workload: Workload, longest_s: float | None) -> Found:
    """UNS310"""
    names = {name for name, _ in workload.spec.ports}
    for probe in workload.spec.probes:
        if not isinstance(probe.handler, HttpGet | TcpSocket) or not isinstance(probe.handler.port, str):
            continue
        port = probe.handler.port
        if port not in names and not port.isdigit():
            kind = "httpGet" if isinstance(probe.handler, HttpGet) else "tcpSocket"
            yield (
                f"{probe.type}Probe.{kind}.port",
                f"{probe.type} asks port {port!r}, which this container does not name",
            )


def cpu_limit(workload: Workload, longest_s: float | None) -> Found:
    """UNS311"""
    limits = (workload.container.get("resources") or {}).get("limits") or {}
    cores = _cores(str(limits.get("cpu", "")))
    needed = max(1, workers(workload))
    if cores is not None and cores < needed and workload.spec.probes:
        text = f"CPU limit {cores:g} is below the {units.plural(needed, 'core')} that {needed} event loop(s) can use"
        yield "resources.limits.cpu", text.replace("1 event loop(s)", "one event loop").replace("(s)", "s")


def _cores(text: str) -> float | None:
    found = re.fullmatch(r"([\d.]+)(m?)", text)
    return float(found[1]) * (0.001 if found[2] else 1.0) if found else None


def workers(workload: Workload) -> int:
    """How many server processes the command asks for, 1 where it does not say."""
    found = re.search(r"(?:--workers[= ]|-w[= ]?)(\d+)", " ".join(workload.command))
    return int(found[1]) if found else 1


def worker_check(workload: Workload, longest_s: float | None) -> Found:
    """UNS312"""
    words = " ".join(workload.command)
    if "uvicorn" not in words or "gunicorn" in words or "--timeout-worker-healthcheck" in words:
        return
    if workers(workload) > 1:
        field = "args" if workload.written("args") else "command"
        yield field, "uvicorn's own supervisor kills a worker that holds the GIL for 5 s, whatever the probes allow"


def shell(workload: Workload, longest_s: float | None) -> Found:
    """UNS313"""
    words = workload.command
    name = words[0].rpartition("/")[2] if words else ""
    if name in ("sh", "bash", "ash", "dash") and "-c" in words[1:] and not re.search(r"\bexec\s", " ".join(words)):
        yield "command", "a shell is process 1: SIGTERM may not reach the server, so every stop lasts the whole grace"


def no_message(workload: Workload, longest_s: float | None) -> Found:
    """UNS314"""
    if workload.spec.probes and not workload.written("terminationMessagePolicy"):
        yield "", "no terminationMessagePolicy: a crash leaves no last log lines in the pod's status"


RULES: dict[str, Callable[[Workload, float | None], Found]] = {
    "UNS301": default_timeout,
    "UNS302": same_patience,
    "UNS303": dependencies,
    "UNS304": no_startup,
    "UNS305": tcp_liveness,
    "UNS306": exec_liveness,
    "UNS307": timeout_above_period,
    "UNS308": short_grace,
    "UNS310": unknown_port,
    "UNS311": cpu_limit,
    "UNS312": worker_check,
    "UNS313": shell,
    "UNS314": no_message,
}
