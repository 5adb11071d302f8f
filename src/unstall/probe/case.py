"""One container's records, joined: which kill belongs to which end, and what its probes and log said."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from unstall.model import Exec, HttpGet, ProbeSpec, ProbeType, TcpSocket
from unstall.probe.cluster import Container, Ended, Event, Pod, Snapshot, Throttling
from unstall.probe.evidence import Answer, Blocked, Log, Miss, blocked, miss, probe_that_killed, read_log
from unstall.runtime.places import LIVEZ, READYZ, STARTUPZ

NORMAL_BUDGET = 25
"""Events of one type the kubelet sends for a pod before it drops most of the rest."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one container.

    ``killer`` is the probe whose failure ended the instance in question: the newest ended one, or, while
    ``killing`` is true, the one that is being killed now. ``exact`` says that a kill was recorded within
    that very instance. ``would_show`` says that a kill by a probe would be in the records if there had been one.
    """

    pod: Pod
    container: Container
    end: Ended | None = None
    kill: Event | None = None
    killer: ProbeType | None = None
    exact: bool = False
    killing: bool = False
    would_show: bool = False
    other_kills: int = 0
    misses: tuple[Miss, ...] = ()
    events: tuple[Event, ...] = ()
    log: Log | None = None
    stall: Blocked | None = None
    throttling: Throttling | None = None

    def probe(self, type: ProbeType) -> ProbeSpec | None:
        """The container's probe of one type."""
        return self.container.probe(type)

    def of(self, *types: ProbeType) -> list[Miss]:
        """The misses of some probe types."""
        return [one for one in self.misses if one.type in types]

    def during(self, type: ProbeType) -> list[Miss]:
        """The misses of one type in the instance in question; all of that type where none can be dated there."""
        inside = [one for one in self.of(type) if self._overlaps(one)]
        return inside or self.of(type)

    def _overlaps(self, one: Miss) -> bool:
        if self.killing:
            return one.last_at >= (self.container.running_since or 0.0) - 1
        if self.end is None or self.end.started_at is None or self.end.finished_at is None:
            return True
        return one.last_at >= self.end.started_at - 1 and one.first_at <= self.end.finished_at + 2

    def event(self, reason: str, text: str = "") -> Event | None:
        """The newest event of one reason whose message has a text in it."""
        found = [event for event in self.events if event.reason == reason and text in event.message]
        return found[-1] if found else None

    def inside(self, reason: str, text: str = "") -> Event | None:
        """The newest event of one reason that was seen while the ended instance lived."""
        if self.end is None:
            return None
        begin, finish = self.end.started_at or 0.0, self.end.finished_at or 0.0
        found = [e for e in self.events if e.reason == reason and text in e.message]
        return next((e for e in reversed(found) if e.first_at <= finish + 2 and e.last_at >= begin - 1), None)

    @property
    def life_s(self) -> float | None:
        """How long the ended instance lived."""
        if self.end is None or self.end.started_at is None or self.end.finished_at is None:
            return None
        return self.end.finished_at - self.end.started_at

    @property
    def limited(self) -> bool:
        """Whether less than one core is allowed, so that even a single-threaded server can be throttled."""
        return self.container.cpu_limit is not None and self.container.cpu_limit < 1

    @property
    def throttled_share(self) -> float | None:
        """The share of CFS periods in which the pod was stopped; None where not measured."""
        if self.throttling is None or self.throttling.periods == 0:
            return None
        return self.throttling.throttled / self.throttling.periods


def path_of(probe: ProbeSpec | None) -> str | None:
    """The HTTP path a probe asks, also where a command asks it; None where it asks none."""
    if probe is None:
        return None
    if isinstance(probe.handler, HttpGet):
        return probe.handler.path
    if isinstance(probe.handler, Exec):
        found = re.search(r"https?://[^/\s'\"]+(/[^\s'\"]*)?", " ".join(probe.handler.command))
        return (found[1] or "/") if found else None
    return None


def port_of(case: Case, probe: ProbeSpec | None) -> int | None:
    """The port number a probe asks; None where it cannot be known."""
    if probe is None or not isinstance(probe.handler, HttpGet | TcpSocket):
        return None
    port = probe.handler.port
    if isinstance(port, int):
        return port
    named = dict(case.container.ports)
    return named.get(port, int(port) if port.isdigit() else None)


def observed(case: Case, probe: ProbeSpec | None) -> bool:
    """Whether a probe asks unstall's observer: its answer is about the event loop, not the app's own word."""
    if probe is None or not isinstance(probe.handler, HttpGet) or probe.handler.path not in (LIVEZ, READYZ, STARTUPZ):
        return False
    words = case.container.command
    told = [after for word, after in zip(words, words[1:], strict=False) if word == "--health-port"]
    told += [word.partition("=")[2] for word in words if word.startswith("--health-port=")]
    told += [value for name, value in case.container.environment if name == "UNSTALL_HEALTH_PORT"]
    return str(port_of(case, probe)) in told


def dominant(misses: Iterable[Miss]) -> Miss | None:
    """The miss that explains a kill best: the most frequent answer, newest first among equals."""
    tally: dict[Answer, int] = defaultdict(int)
    rows = list(misses)
    for one in rows:
        tally[one.answer] += one.count
    return max(rows, key=lambda one: (tally[one.answer], one.last_at), default=None)


def cases(snapshot: Snapshot, only_workloads: bool = False) -> list[Case]:
    """Every container of every pod, and of pods of which only events are left.

    ``only_workloads`` drops pods that are gone and belong to no workload among the pods: for a selector.
    """
    here = {(pod.namespace, pod.name, pod.uid) for pod in snapshot.pods}
    # Controllers outside the kubelet leave the uid out of their events: then the name has to do.
    named = {(pod.namespace, pod.name): pod.uid for pod in snapshot.pods}
    by_pod: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
    for event in snapshot.events:
        if event.kind == "Pod":
            uid = event.uid or named.get((event.namespace, event.name), "")
            by_pod[event.namespace, event.name, uid].append(event)
    owners = _owners(snapshot)
    gone = [_gone(key, events, owners) for key, events in by_pod.items() if key not in here]
    if only_workloads:
        known = {(pod.namespace, pod.workload) for pod in snapshot.pods}
        gone = [pod for pod in gone if (pod.namespace, pod.workload) in known]
    return [
        _case(snapshot, pod, container, by_pod.get((pod.namespace, pod.name, pod.uid), []))
        for pod in [*snapshot.pods, *gone]
        for container in pod.containers
    ]


_CREATED = re.compile(r"(?:Created pod:|create Pod) (\S+)")


def _owners(snapshot: Snapshot) -> dict[tuple[str, str], tuple[str, str]]:
    """Which controller created a pod, by its namespace and name, as far as events tell."""
    found = ((event, _CREATED.search(event.message)) for event in snapshot.events if event.kind != "Pod")
    return {(event.namespace, made[1]): (event.kind, event.name) for event, made in found if made}


def _gone(key: tuple[str, str, str], events: list[Event], owners: dict[tuple[str, str], tuple[str, str]]) -> Pod:
    namespace, name, uid = key
    owner = owners.get((namespace, name), ("", ""))
    names = sorted({event.container for event in events if event.container}) or [""]
    workload = f"{owner[0].lower()}/{owner[1]}" if owner[1] else f"pod/{name}"
    if owner[0] == "ReplicaSet":
        workload = "deployment/" + owner[1].rpartition("-")[0]
    containers = tuple(_gone_container(one, events) for one in names)
    return Pod(namespace, name, uid, owner=owner, workload=workload, containers=containers, gone=True)


def _gone_container(name: str, events: list[Event]) -> Container:
    starts = sum(event.count for event in events if event.reason == "Started" and event.container == name)
    return Container(name, restarts=max(0, starts - 1))


def _case(snapshot: Snapshot, pod: Pod, container: Container, events: list[Event]) -> Case:
    key = (pod.namespace, pod.name, container.name)
    mine = tuple(event for event in events if event.container in ("", container.name))
    misses = tuple(one for event in mine if event.container and (one := miss(event)))
    text = snapshot.logs.get(key)
    case = Case(
        pod,
        container,
        container.end,
        misses=misses,
        events=mine,
        log=read_log(text) if text is not None else None,
        throttling=snapshot.throttling.get((pod.namespace, pod.name)),
    )
    case = _with_kill(case, sum(event.count for event in events if event.type == "Normal"))
    running = snapshot.running_logs.get(key)
    if case.killing and (running is not None or container.restarts):
        # The log of the instance before is not about the instance that is being killed.
        case = replace(case, log=read_log(running) if running is not None else None)
    stall = blocked(container.end.message) if container.end and not case.killing else None
    return replace(case, stall=stall)


def _with_kill(case: Case, normal_events: int) -> Case:
    kills = [event for event in case.events if event.container and probe_that_killed(event)]
    kill = max(kills, key=lambda event: event.last_at, default=None)
    end, running = case.end, case.container.running_since
    shows = _would_show(case, normal_events)
    if end is None:
        if kill is None:
            return case
        over = case.pod.gone or (running is not None and kill.last_at < running)
        return replace(case, kill=kill, killer=probe_that_killed(kill), exact=True, killing=not over)
    begin, finish = end.started_at or 0.0, end.finished_at or 0.0
    inside = [event for event in kills if event.first_at <= finish + 2 and event.last_at >= begin - 1]
    if inside:
        newest = max(inside, key=lambda event: event.last_at)
        return replace(case, kill=newest, killer=probe_that_killed(newest), exact=True, would_show=True)
    if kill is not None and running is not None and kill.last_at >= running:
        return replace(case, kill=kill, killer=probe_that_killed(kill), exact=True, killing=True)
    silent = _killed_without_restart(case)
    if silent:
        return replace(case, kill=silent, killer=ProbeType.LIVENESS, exact=True)
    implied = _implied(case)
    if implied is not None:
        return replace(case, kill=kill, killer=implied)
    if kill is not None and not shows:
        # The kubelet's budget of events was used up, or they have expired: the newest kill known is an older one.
        return replace(case, kill=kill, killer=probe_that_killed(kill))
    return replace(case, would_show=shows, other_kills=sum(event.count for event in kills))


def _would_show(case: Case, normal_events: int) -> bool:
    """Whether the events reach back to the end in question and the kubelet still sent all of them."""
    if case.end is None or case.end.finished_at is None or normal_events >= NORMAL_BUDGET:
        return False
    finish = case.end.finished_at
    after = (event for event in case.events if event.reason in ("Started", "Created", "BackOff"))
    # Something older must be left too, or the kill may just have expired before what followed it.
    return any(e.last_at >= finish - 1 for e in after) and any(e.last_at <= finish + 1 for e in case.events)


def _implied(case: Case) -> ProbeType | None:
    """The probe that failed often enough within the ended instance to have killed it, without a kill on record."""
    end = case.end
    if end is None or end.exit_code not in (0, 137, 143) or end.started_at is None or end.finished_at is None:
        return None
    for type in (ProbeType.STARTUP, ProbeType.LIVENESS):
        probe = case.probe(type)
        if probe is None:
            continue
        inside = [one for one in case.of(type) if end.started_at - 1 <= one.last_at <= end.finished_at + 1]
        if sum(one.count for one in inside) >= probe.failure_threshold:
            return type
    return None


def _killed_without_restart(case: Case) -> Event | None:
    # A pod that may not restart is stopped like a deleted one; only the failed probes before tell.
    probe = case.probe(ProbeType.LIVENESS)
    stopped = case.event("Killing", "Stopping container")
    if stopped is None or probe is None or case.pod.deleted_at is not None or case.container.running_since:
        return None
    failed = sum(one.count for one in case.of(ProbeType.LIVENESS) if one.last_at <= stopped.last_at + 1)
    return stopped if failed >= probe.failure_threshold else None
