"""What to change in a container, as one patch with a sentence for each part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unstall import units
from unstall.model import Exec, ProbeSpec, ProbeType
from unstall.probe import server
from unstall.probe.forecast import HEADROOM, History, label, suggest
from unstall.probe.workload import Workload
from unstall.probe.yaml_edits import merged
from unstall.runtime.places import DEFAULT_HEALTH_PORT, LIVEZ, READYZ, STARTUPZ
from unstall.runtime.settings import DEAD_AFTER_S

START_S = 120
"""How long a start may take at least, where a startup probe is added: imports, models and migrations take minutes."""
START_HEADROOM = 4
"""How many times the slowest start recorded, or the start allowed until now, an added startup probe allows."""
START_PERIOD_S = 2
PORT_NAME = "unstall-health"
PATHS = {ProbeType.LIVENESS: LIVEZ, ProbeType.READINESS: READYZ, ProbeType.STARTUP: STARTUPZ}
HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``patch`` is merged into the container (see `unstall.probe.yaml_edits`); ``told`` says what it does."""

    patch: dict[str, Any]
    told: tuple[str, ...] = ()


class CannotWrap(Exception):
    """Why a container's command cannot be wrapped."""


def suggestion(workload: Workload, history: History | None, slowest_start_s: float | None = None) -> Suggestion:
    """The liveness probe that the stalls call for, and what the rules miss that can be added without a choice."""
    patch: dict[str, Any] = {}
    told: list[str] = []
    spec = workload.spec
    now = spec.probe(ProbeType.LIVENESS)
    chosen = suggest(spec, history) if history is not None else None
    if now is not None and chosen is not None:
        patch["livenessProbe"] = _numbers(workload, now, chosen)
        told.append(f"liveness {label(chosen)}")
    more = [_startup(workload, slowest_start_s), _message(workload)]
    return Suggestion(patch | {k: v for one in more for k, v in one.patch.items()}, (*told, *_told(more)))


def _told(parts: list[Suggestion]) -> tuple[str, ...]:
    return tuple(text for part in parts for text in part.told)


def _numbers(workload: Workload, now: ProbeSpec, chosen: ProbeSpec) -> dict[str, int]:
    """What changes, and the time-out in any case where it was left to the default: now it was chosen."""
    fields = {"timeoutSeconds": "timeout_s", "failureThreshold": "failure_threshold"}
    numbers = {name: getattr(chosen, attribute) for name, attribute in fields.items()}
    defaulted = {"timeoutSeconds"} if not workload.written("livenessProbe.timeoutSeconds") else set[str]()
    return {name: value for name, value in numbers.items() if value != getattr(now, fields[name]) or name in defaulted}


def _startup(workload: Workload, slowest_start_s: float | None, asks: dict[str, Any] | None = None) -> Suggestion:
    """A startup probe where liveness has none to wait for, on what liveness asks."""
    spec = workload.spec
    now = spec.probe(ProbeType.LIVENESS)
    if now is None or spec.probe(ProbeType.STARTUP) is not None:
        return Suggestion({})
    written = workload.container.get("livenessProbe") or {}
    asks = asks or {name: written[name] for name in HANDLERS if name in written}
    # A command costs a process each time it asks.
    period_s = now.period_s if isinstance(now.handler, Exec) else START_PERIOD_S
    allowed_s = now.initial_delay_s + now.failure_threshold * now.period_s
    needed_s = max(START_S, allowed_s, START_HEADROOM * (slowest_start_s or 0.0))
    failures = math.ceil(needed_s / period_s)
    probe = {**asks, "periodSeconds": period_s, "failureThreshold": failures}
    return Suggestion({"startupProbe": probe}, (f"a startup probe that allows {units.seconds(failures * period_s)}",))


def _message(workload: Workload) -> Suggestion:
    if not workload.spec.probes or workload.written("terminationMessagePolicy"):
        return Suggestion({})
    patch = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    return Suggestion(patch, ("the last log lines in the pod's status after a crash",))


# --- with the observer ----------------------------------------------------------------------------


def with_watch(workload: Workload, history: History | None, slowest_start_s: float | None = None) -> Suggestion:
    """Probes that ask the observer's port, and the command wrapped with ``unstall run`` so that there is one. It takes
    a loop for dead only after longer than the longest stall.

    Raises:
        CannotWrap: the command is not known, or starts something that cannot be watched.
    """
    if not workload.spec.probes:
        raise CannotWrap("it has no probe to move: add a livenessProbe first")
    port, name = _port(workload)
    longest_s = max(history.lengths_s, default=0.0) if history is not None else 0.0
    command = _command(workload, port, math.ceil(longest_s * HEADROOM))
    patch: dict[str, Any] = {} if command == workload.container.get("command") else {"command": command}
    here = {one.get("containerPort"): one.get("name") for one in workload.container.get("ports") or ()}
    if port not in here:
        patch["ports"] = [{"name": name, "containerPort": port}]
    target = here.get(port, name) or port
    for probe in workload.spec.probes:
        patch[f"{probe.type}Probe"] = _moved(workload.container[f"{probe.type}Probe"], PATHS[probe.type], target)
    asks = {"httpGet": {"path": STARTUPZ, "port": target}}
    more = [_startup(workload, slowest_start_s, asks), _message(workload)]
    kinds = [str(probe.type) for probe in workload.spec.probes]
    moved = " and ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
    told = (f"{moved} ask the observer on port {port}", "the command is wrapped with unstall run", *_told(more))
    patch |= {k: v for one in more for k, v in one.patch.items()}
    return Suggestion(patch, told) if merged(workload.container, patch) != workload.container else Suggestion({})


def _command(workload: Workload, port: int, patience_s: int) -> list[str]:
    command = [str(word) for word in workload.container.get("command") or ()]
    if not command:
        why = "it has args and no command" if workload.written("args") else "it has no command"
        raise CannotWrap(f"{why}, and what its image starts the manifest does not say")
    told = server.server(workload)
    if told.name in server.UNWATCHED:
        raise CannotWrap(f"its command starts {told.name}, which unstall run does not watch")
    flags = ["--health-port", str(port)]
    flags += ["--dead-after", str(patience_s)] if patience_s > DEAD_AFTER_S else []
    if [word.rpartition("/")[2] for word in command[:2]] != ["unstall", "run"]:
        return ["unstall", "run", *flags, "--", *command]
    return command if server.health_port(workload) is not None else [*command[:2], *flags, *command[2:]]


def _port(workload: Workload) -> tuple[int, str]:
    """The observer's port and its name: free in the whole pod, whose containers share one address."""
    told = server.health_port(workload)
    containers = [
        one for key in ("containers", "initContainers") for one in workload.pod.get(key) or () if isinstance(one, dict)
    ]
    ports = [port for one in containers for port in one.get("ports") or () if isinstance(port, dict)]
    taken = {port.get("containerPort") for port in ports} | (server.ports(workload) or set())
    names = {port.get("name") for port in ports}
    port = told or next(number for number in range(DEFAULT_HEALTH_PORT, 65536) if number not in taken)
    name = PORT_NAME if PORT_NAME not in names else f"{PORT_NAME}{port % 10}"
    return port, name


def _moved(written: dict[str, Any], path: str, port: int | str) -> dict[str, Any]:
    before = written.get("httpGet") or {}
    gone = {name: None for name in ("scheme", "host", "httpHeaders") if name in before}
    others = {name: None for name in HANDLERS if name != "httpGet" and name in written}
    return {**others, "httpGet": {"path": path, "port": port, **gone}}
