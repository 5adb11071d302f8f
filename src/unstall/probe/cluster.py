"""Pods, events and logs of a cluster as nouns, read from what ``kubectl ... -o json`` prints.

Times are seconds since 1970, UTC; the API truncates them to whole seconds. Unknown fields are ignored and
missing ones read as absent, because servers of every age and vendor answer here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unstall.model import Exec, Grpc, Handler, HttpGet, ProbeSpec, ProbeType, TcpSocket

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How one instance of a container ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod with its status. ``kind`` is container, init or sidecar; ``end`` is the newest
    ended instance; ``running_since`` is None unless it runs now; limits are None where none is set."""

    name: str
    kind: str = "container"
    restarts: int = 0
    ready: bool = False
    started: bool | None = None
    running_since: float | None = None
    waiting: str = ""
    waiting_message: str = ""
    end: Ended | None = None
    probes: tuple[ProbeSpec, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    image: str = ""
    cpu_limit: float | None = None
    memory_limit: str = ""

    def probe(self, type: ProbeType) -> ProbeSpec | None:
        """The probe of one type, None where the container has none."""
        return next((probe for probe in self.probes if probe.type is type), None)


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. ``owner`` is (kind, name) of its controller, ``workload`` what a person calls it
    (``deployment/shop-api``). ``gone`` is true where only its events are left."""

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    owner: tuple[str, str] = ("", "")
    workload: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    grace_s: int = 30
    restart_policy: str = "Always"
    created_at: float | None = None
    deleted_at: float | None = None
    ready: bool = False
    ready_since: float | None = None
    containers: tuple[Container, ...] = ()
    gone: bool = False
    disruption: str = ""
    """Who is removing it, where the API server, the scheduler or the kubelet said so: reason and message."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event object. Equal messages are one event whose ``count`` grows; counts are lower bounds, since
    the kubelet drops what exceeds its budget."""

    kind: str
    namespace: str
    name: str
    uid: str
    container: str
    reason: str
    message: str
    type: str = "Normal"
    count: int = 1
    first_at: float = 0.0
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttling:
    """CFS periods of a pod since it began, from cAdvisor: how many there were, in how many it was stopped."""

    periods: int
    throttled: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look at the cluster gave.

    ``logs`` maps (namespace, pod, container) to the log of the instance before this one, ``running_logs`` to
    that of the instance running now. ``rollouts`` are (namespace, replica set, revision, image, created at).
    ``gaps`` are sentences on what could not be read; ``events_read`` is false where events were refused.
    """

    pods: tuple[Pod, ...]
    events: tuple[Event, ...] = ()
    events_read: bool = True
    logs: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    running_logs: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    throttling: Mapping[tuple[str, str], Throttling] = field(default_factory=dict)
    rollouts: tuple[tuple[str, str, int, str, float], ...] = ()
    gaps: tuple[str, ...] = ()


def moment_of(text: object) -> float | None:
    """An RFC 3339 time to seconds since 1970; None where there is none."""
    if not isinstance(text, str) or not text:
        return None
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        return datetime.datetime.fromisoformat(trimmed).timestamp()
    except ValueError:
        return None


def read_pods(answer: Json) -> tuple[Pod, ...]:
    """The pods of a ``kubectl get pods -o json``."""
    return tuple(_pod(item) for item in _items(answer))


def read_events(answer: Json) -> tuple[Event, ...]:
    """The events of a ``kubectl get events -o json``, oldest first by their last occurrence."""
    return tuple(sorted((_event(item) for item in _items(answer)), key=lambda event: event.last_at))


def read_rollouts(answer: Json) -> tuple[tuple[str, str, int, str, float], ...]:
    """Revisions of deployments from ``kubectl get replicasets -o json``, oldest first."""
    rows = []
    for item in _items(answer):
        meta = _map(item, "metadata")
        revision = str(_map(meta, "annotations").get("deployment.kubernetes.io/revision", ""))
        spec = _map(_map(_map(item, "spec"), "template"), "spec")
        images = ", ".join(str(container.get("image", "")) for container in _maps(spec, "containers"))
        created = moment_of(meta.get("creationTimestamp")) or 0.0
        if revision.isdigit():
            row = (str(meta.get("namespace", "")), str(meta.get("name", "")), int(revision), images, created)
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: (row[4], row[2])))


def read_throttling(exposition: str) -> dict[tuple[str, str], Throttling]:
    """CFS counters per pod from the kubelet's ``/metrics/cadvisor``: the pod's own line where there is one,
    else the sum over its containers."""
    sums: dict[tuple[str, str, str, bool], int] = {}
    for line in exposition.splitlines():
        matched = _CFS.match(line)
        if matched is None:
            continue
        labels = dict(_LABEL.findall(matched["labels"]))
        whole_pod = not labels.get("container")
        key = (labels.get("namespace", ""), labels.get("pod", ""), matched["what"], whole_pod)
        sums[key] = sums.get(key, 0) + int(float(matched["value"]))
    found: dict[tuple[str, str], Throttling] = {}
    for namespace, pod in {key[:2] for key in sums}:
        for whole_pod in (True, False):
            periods = sums.get((namespace, pod, "periods", whole_pod), 0)
            if periods and (namespace, pod) not in found:
                throttled = sums.get((namespace, pod, "throttled_periods", whole_pod), 0)
                found[namespace, pod] = Throttling(periods, throttled)
    return found


_CFS = re.compile(r"container_cpu_cfs_(?P<what>(?:throttled_)?periods)_total\{(?P<labels>.*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def _items(answer: Json) -> list[Json]:
    """What a list holds; one object by itself, as ``kubectl get pod NAME`` prints it, is a list of one."""
    if "items" not in answer and isinstance(answer.get("metadata"), dict) and "kind" in answer:
        return [answer]
    return _maps(answer, "items")


def _map(of: Json, key: str) -> Json:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def _list(of: Json, key: str) -> list[Any]:
    found = of.get(key)
    return found if isinstance(found, list) else []


def _maps(of: Json, key: str) -> list[Json]:
    return [item for item in _list(of, key) if isinstance(item, dict)]


def _number(of: Json, key: str, default: int) -> int:
    found = of.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def _pod(item: Json) -> Pod:
    meta, spec, status = _map(item, "metadata"), _map(item, "spec"), _map(item, "status")
    owner: Json = next((o for o in _maps(meta, "ownerReferences") if o.get("controller")), {})
    conditions = {str(c.get("type")): c for c in _maps(status, "conditions")}
    ready = conditions.get("Ready", {})
    namespace, name = str(meta.get("namespace", "default")), str(meta.get("name", ""))
    kind, owner_name = str(owner.get("kind", "")), str(owner.get("name", ""))
    return Pod(
        namespace,
        name,
        str(meta.get("uid", "")),
        str(spec.get("nodeName", "")),
        (kind, owner_name),
        _workload(kind, owner_name, name, str(_map(meta, "labels").get("pod-template-hash", ""))),
        str(status.get("phase", "")),
        str(status.get("reason", "")),
        str(status.get("message", "")),
        _number(spec, "terminationGracePeriodSeconds", 30),
        str(spec.get("restartPolicy", "Always")),
        moment_of(meta.get("creationTimestamp")),
        moment_of(meta.get("deletionTimestamp")),
        ready.get("status") == "True",
        moment_of(ready.get("lastTransitionTime")),
        tuple(_containers(spec, status)),
        disruption=_disruption(conditions.get("DisruptionTarget", {})),
    )


def _disruption(condition: Json) -> str:
    if condition.get("status") != "True":
        return ""
    return ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))


def _workload(kind: str, owner: str, pod: str, template_hash: str) -> str:
    if kind == "ReplicaSet" and template_hash and owner.endswith("-" + template_hash):
        return "deployment/" + owner.removesuffix("-" + template_hash)
    return f"{kind.lower()}/{owner}" if owner else f"pod/{pod}"


def _containers(spec: Json, status: Json) -> Iterable[Container]:
    # containerStatuses is sorted by name and spec.containers is not: join by name.
    for key, statuses, kind in (
        ("initContainers", "initContainerStatuses", "init"),
        ("containers", "containerStatuses", "container"),
    ):
        by_name = {str(s.get("name")): s for s in _maps(status, statuses)}
        for described in _maps(spec, key):
            sidecar = kind == "init" and described.get("restartPolicy") == "Always"
            ends = (kind == "init" and not sidecar) or spec.get("restartPolicy") in ("OnFailure", "Never")
            one_kind = "sidecar" if sidecar else kind
            yield _container(described, by_name.get(str(described.get("name")), {}), one_kind, ends)


def _container(spec: Json, status: Json, kind: str, ends: bool) -> Container:
    """One container; ``ends`` is true where it is done once it ended well, so that the end before is in question."""
    state, last = _map(status, "state"), _map(_map(status, "lastState"), "terminated")
    now = _map(state, "terminated")
    if ends and last and now.get("exitCode") == 0:
        now = last
    waiting = _map(state, "waiting")
    limits = _map(_map(spec, "resources"), "limits")
    return Container(
        str(spec.get("name", "")),
        kind,
        _number(status, "restartCount", 0),
        bool(status.get("ready")),
        bool(status["started"]) if "started" in status else None,
        moment_of(_map(state, "running").get("startedAt")),
        str(waiting.get("reason", "")),
        str(waiting.get("message", "")),
        _ended(now or last),
        tuple(_probes(spec)),
        tuple((str(p.get("name", "")), _number(p, "containerPort", 0)) for p in _maps(spec, "ports")),
        tuple(str(word) for word in [*_list(spec, "command"), *_list(spec, "args")]),
        tuple((str(v.get("name", "")), str(v.get("value", ""))) for v in _maps(spec, "env")),
        str(spec.get("image", "")),
        _cores(limits.get("cpu")),
        str(limits.get("memory", "")),
    )


def _ended(terminated: Json) -> Ended | None:
    if not terminated:
        return None
    return Ended(
        _number(terminated, "exitCode", 0),
        str(terminated.get("reason", "")),
        str(terminated.get("message", "")),
        moment_of(terminated.get("startedAt")),
        moment_of(terminated.get("finishedAt")),
    )


def _cores(quantity: object) -> float | None:
    matched = re.fullmatch(r"([\d.]+)([numk]?)", str(quantity)) if quantity is not None else None
    if matched is None:
        return None
    return float(matched[1]) * {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "": 1.0}[matched[2]]


def _probes(spec: Json) -> Iterable[ProbeSpec]:
    for type in ProbeType:
        probe = _map(spec, f"{type.value}Probe")
        handler = _handler(probe)
        if handler is not None:
            grace = probe.get("terminationGracePeriodSeconds")
            yield ProbeSpec(
                type,
                handler,
                _number(probe, "periodSeconds", 10),
                _number(probe, "timeoutSeconds", 1),
                _number(probe, "failureThreshold", 3),
                _number(probe, "successThreshold", 1),
                _number(probe, "initialDelaySeconds", 0),
                grace if isinstance(grace, int) else None,
            )


def _handler(probe: Json) -> Handler | None:
    if "httpGet" in probe:
        get = _map(probe, "httpGet")
        return HttpGet(_port(get), str(get.get("path", "/")), str(get.get("scheme", "HTTP")))
    if "tcpSocket" in probe:
        return TcpSocket(_port(_map(probe, "tcpSocket")))
    if "exec" in probe:
        return Exec(tuple(str(word) for word in _list(_map(probe, "exec"), "command")))
    if "grpc" in probe:
        return Grpc(_number(_map(probe, "grpc"), "port", 0), str(_map(probe, "grpc").get("service") or ""))
    return None


def _port(of: Json) -> int | str:
    found = of.get("port", 80)
    return found if isinstance(found, int | str) else 80


_FIELD = re.compile(r"spec\.\w+\{(.+)\}")
_COMBINED = "(combined from similar events): "


def _event(item: Json) -> Event:
    about, series = _map(item, "involvedObject") or _map(item, "regarding"), _map(item, "series")
    meta = _map(item, "metadata")
    born = moment_of(meta.get("creationTimestamp"))
    once = moment_of(item.get("eventTime"))
    # events.k8s.io calls the old fields deprecated, and keeps them.
    first = moment_of(item.get("firstTimestamp") or item.get("deprecatedFirstTimestamp")) or once or born or 0.0
    observed = item.get("lastTimestamp") or series.get("lastObservedTime") or item.get("deprecatedLastTimestamp")
    last = moment_of(observed) or once or born
    field_path = _FIELD.match(str(about.get("fieldPath") or ""))
    return Event(
        str(about.get("kind", "")),
        str(about.get("namespace") or meta.get("namespace", "")),
        str(about.get("name", "")),
        str(about.get("uid", "")),
        field_path[1] if field_path else "",
        str(item.get("reason", "")),
        str(item.get("message") or item.get("note") or "").removeprefix(_COMBINED),
        str(item.get("type", "Normal")),
        max(_number(item, "count", 0), _number(item, "deprecatedCount", 0), _number(series, "count", 0), 1),
        first,
        last if last is not None else first,
    )
