"""What is unsafe about the probes of a container: one small function a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unstall import units
from unstall.model import Exec, HttpGet, ProbeSpec, ProbeType, TcpSocket
from unstall.probe import server
from unstall.probe.served import Served
from unstall.probe.workload import Workload


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding about a manifest: rule, where, and a sentence. ``field`` is the container's field it is about."""

    rule: str
    path: str
    line: int
    text: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the manifest: the longest stall, and the app that the container serves."""

    longest_s: float | None = None
    app: Served | None = None


Found = Iterator[tuple[str, str]]
"""(field of the container, sentence)"""


def advise(workload: Workload, known: Known = Known()) -> list[Advice]:
    """Everything the rules find in one container, by rule."""
    return [
        Advice(rule, workload.spec.path, workload.line(field), text, field)
        for rule, find in RULES.items()
        for field, text in find(workload, known)
    ]


def default_timeout(workload: Workload, known: Known) -> Found:
    """UNS301"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and not workload.written("livenessProbe.timeoutSeconds") and _asks_http(workload):
        yield "livenessProbe", "liveness timeout is the 1 s default"


def _asks_http(workload: Workload) -> bool:
    probe = workload.spec.probe(ProbeType.LIVENESS)
    return probe is not None and isinstance(probe.handler, HttpGet)


def same_patience(workload: Workload, known: Known) -> Found:
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


def dependencies(workload: Workload, known: Known) -> Found:
    """UNS303"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, HttpGet) and _DEPENDENCIES.search(probe.handler.path):
        text = f"liveness asks {probe.handler.path}: if it asks a dependency, its outage restarts every pod"
        yield "livenessProbe.httpGet.path", text


def no_startup(workload: Workload, known: Known) -> Found:
    """UNS304"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and workload.spec.probe(ProbeType.STARTUP) is None:
        allowed_s = probe.initial_delay_s + probe.failure_threshold * probe.period_s
        yield "livenessProbe", f"no startup probe: a start slower than {allowed_s} s is killed before it is ready"


def tcp_liveness(workload: Workload, known: Known) -> Found:
    """UNS305"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, TcpSocket):
        yield "livenessProbe.tcpSocket", "TCP liveness passes on a blocked event loop: the kernel accepts connections"


def exec_liveness(workload: Workload, known: Known) -> Found:
    """UNS306"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    if probe is not None and isinstance(probe.handler, Exec):
        a_day = units.count(86400 // probe.period_s)
        yield "livenessProbe.exec", f"exec liveness starts a process in the container {a_day} times a day"


def timeout_above_period(workload: Workload, known: Known) -> Found:
    """UNS307"""
    for probe in workload.spec.probes:
        if probe.timeout_s > probe.period_s:
            text = f"{probe.type} timeout {probe.timeout_s} s is above its period {probe.period_s} s: probes run back to back"
            yield f"{probe.type}Probe.timeoutSeconds", text


def short_grace(workload: Workload, known: Known) -> Found:
    """UNS308"""
    probe = workload.spec.probe(ProbeType.LIVENESS)
    grace_s = probe.grace_s if probe is not None and probe.grace_s is not None else workload.spec.grace_s
    longest_s = known.longest_s
    if longest_s is not None and longest_s > grace_s:
        text = f"grace {grace_s} s is shorter than the longest stall, {units.moment(longest_s)}: SIGKILL comes before SIGTERM is heard"
        yield "livenessProbe" if probe is not None else "", text


def thread_pool(workload: Workload, known: Known) -> Found:
    """UNS309"""
    for probe, place, path in _asked_paths(workload, known):
        route = known.app.route(path) if known.app else None
        if route is not None and route.thread:
            text = f"{probe} asks {path}, whose {route.thread} is a plain `def`: it waits for a free thread of the pool"
            yield f"{place}.path", text


def unknown_target(workload: Workload, known: Known) -> Found:
    """UNS310"""
    for probe in workload.spec.probes:
        if isinstance(probe.handler, HttpGet | TcpSocket):
            field, text = _port(workload, probe)
            if text:
                yield field, text
    for kind, place, path in _asked_paths(workload, known):
        if known.app and not known.app.may_have(path):
            yield f"{place}.path", f"{kind} asks GET {path}, for which {known.app.app} has no route"


def _port(workload: Workload, probe: ProbeSpec) -> tuple[str, str]:
    assert isinstance(probe.handler, HttpGet | TcpSocket)
    port = probe.handler.port
    kind = "httpGet" if isinstance(probe.handler, HttpGet) else "tcpSocket"
    field, names = f"{probe.type}Probe.{kind}.port", dict(workload.spec.ports)
    number = names.get(port) if isinstance(port, str) else port
    if number is None and isinstance(port, str) and not port.isdigit():
        return field, f"{probe.type} asks port {port!r}, which this container does not name"
    number = int(port) if number is None else number
    listens = server.ports(workload)
    if listens is None or number in listens or probe.handler.host or _elsewhere(workload, number, listens):
        return field, ""
    told = " and ".join(map(str, sorted(listens)))
    return field, f"{probe.type} asks port {number}, but the command lets the server listen on port {told}"


def _elsewhere(workload: Workload, number: int, listens: set[int]) -> bool:
    """Whether something beside the server may listen on a port: another container, or one declared beside its own."""
    observer = server.health_port(workload)
    inside = {port.get("containerPort") for port in workload.container.get("ports") or ()}
    others = [one for one in workload.pod.get("containers") or () if one is not workload.container]
    beside = {port.get("containerPort") for one in others for port in one.get("ports") or ()}
    silent = any(not one.get("ports") for one in others)
    return (
        number == observer
        or number in beside
        or (silent and number not in inside)
        or (number in inside and bool(inside & listens))
    )


def _asked_paths(workload: Workload, known: Known) -> Iterator[tuple[str, str, str]]:
    """The HTTP probes that ask the app itself: the probe, its field, its path."""
    listens, names = server.ports(workload), dict(workload.spec.ports)
    for probe in workload.spec.probes if known.app else ():
        if not isinstance(probe.handler, HttpGet) or probe.handler.host:
            continue
        port = probe.handler.port
        number = names.get(port, 0) if isinstance(port, str) else port
        if number != server.health_port(workload) and (listens is None or number in listens):
            yield str(probe.type), f"{probe.type}Probe.httpGet", probe.handler.path


def cpu_limit(workload: Workload, known: Known) -> Found:
    """UNS311"""
    limits = (workload.container.get("resources") or {}).get("limits") or {}
    cores = _cores(str(limits.get("cpu", "")))
    needed = server.workers(workload)
    if cores is not None and cores < needed and workload.spec.probes:
        text = f"CPU limit {cores:g} is below the {units.plural(needed, 'core')} that {needed} event loop(s) can use"
        yield "resources.limits.cpu", text.replace("1 event loop(s)", "one event loop").replace("(s)", "s")


def _cores(text: str) -> float | None:
    found = re.fullmatch(r"([\d.]+)(m?)", text)
    return float(found[1]) * (0.001 if found[2] else 1.0) if found else None


def worker_check(workload: Workload, known: Known) -> Found:
    """UNS312"""
    told = server.server(workload)
    if told.name != "uvicorn" or any(word.startswith("--timeout-worker-healthcheck") for word in told.words):
        return
    if server.workers(workload) > 1:
        field = "args" if workload.written("args") else "command"
        yield field, "uvicorn's own supervisor kills a worker that holds the GIL for 5 s, whatever the probes allow"


def shell(workload: Workload, known: Known) -> Found:
    """UNS313"""
    if server.server(workload).shell:
        yield "command", "a shell is process 1: SIGTERM may not reach the server, so every stop lasts the whole grace"


def no_message(workload: Workload, known: Known) -> Found:
    """UNS314"""
    if workload.spec.probes and not workload.written("terminationMessagePolicy"):
        yield "", "no terminationMessagePolicy: a crash leaves no last log lines in the pod's status"


RULES: dict[str, Callable[[Workload, Known], Found]] = {
    "UNS301": default_timeout,
    "UNS302": same_patience,
    "UNS303": dependencies,
    "UNS304": no_startup,
    "UNS305": tcp_liveness,
    "UNS306": exec_liveness,
    "UNS307": timeout_above_period,
    "UNS308": short_grace,
    "UNS309": thread_pool,
    "UNS310": unknown_target,
    "UNS311": cpu_limit,
    "UNS312": worker_check,
    "UNS313": shell,
    "UNS314": no_message,
}
