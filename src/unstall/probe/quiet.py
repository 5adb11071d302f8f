"""Rules for containers that did not end: they cannot start, are being deleted, missed probes, or are well.

Every rule takes a case and the whole snapshot, and returns None where it does not know.
"""

from __future__ import annotations

import re

from unstall.model import ProbeType, TcpSocket
from unstall.probe import endings, silence, words
from unstall.probe.case import Case, dominant, observed
from unstall.probe.cluster import Snapshot
from unstall.probe.evidence import Answer, Miss
from unstall.probe.opinion import CERTAIN, LIKELY, Opinion, unknown
from unstall.probe.words import asked, clock

IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
CONFIG = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
)
_REPLACED = re.compile(r"Deleted pod: (\S+)|delete Pod (\S+) in")


def image(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It waits for an image that cannot be had."""
    if case.container.waiting not in IMAGE:
        failed = case.event("Failed", "Failed to pull image") if case.pod.gone else None
        return Opinion("image-pull", LIKELY, (failed.message,)) if failed else None
    return Opinion("image-pull", CERTAIN).because(
        f"waiting: {case.container.waiting}", case.container.waiting_message[:300], f"image {case.container.image}"
    )


def config(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It cannot be created as described: a missing ConfigMap, Secret, volume or command."""
    if case.container.waiting in CONFIG:
        return Opinion("config-error", CERTAIN).because(
            f"waiting: {case.container.waiting}", case.container.waiting_message[:300]
        )
    mount = case.event("FailedMount")
    if case.container.waiting == "ContainerCreating" and mount is not None:
        return Opinion("config-error", LIKELY, (f"event FailedMount: {mount.message[:300]}",))
    sandbox = case.event("FailedCreatePodSandBox")
    creating = case.container.waiting in ("ContainerCreating", "PodInitializing") and not case.event("Started")
    if creating and sandbox is not None:
        text = f"not started: event FailedCreatePodSandBox: {sandbox.message[:300]}"
        return unknown(("node-restart", "config-error"), text)
    unplaced = case.event("FailedScheduling")
    if unplaced is not None and not case.pod.node and not case.pod.gone:
        text = f"not started: event FailedScheduling: {unplaced.message[:300]}"
        return unknown((), text)
    return None


EVICTED = ("Evicted", "Preempting", "Preempted")
_REFUSED = re.compile(r"OutOf\w+|NodeAffinity|NodePorts|PodFitsHostPorts|UnexpectedAdmissionError|\w+AdmissionError")


def ended_whole(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The pod as a whole was ended or refused by its node: what its containers say of it is only what followed."""
    pod = case.pod
    if pod.phase != "Failed" or not pod.reason:
        return None
    text = f"pod {pod.reason}: {pod.message}".rstrip(": ")
    if pod.reason in EVICTED:
        return Opinion("deleted", CERTAIN, next=MAKE_ROOM).because(text, pod.disruption)
    if pod.reason == "DeadlineExceeded":
        later = "give it longer with activeDeadlineSeconds, or let it do less"
        return Opinion("job-failed" if pod.owner[0] == "Job" else "deleted", CERTAIN, (text,), next=later)
    if _REFUSED.fullmatch(pod.reason):
        return unknown(("node-restart", "config-error"), f"{text}: the node refused it, and it never ran")
    return None


MAKE_ROOM = "set requests as high as it really uses: the node evicts first what exceeds its requests"


def deleted(case: Case, snapshot: Snapshot) -> Opinion | None:
    """A person, a rollout, a drain or the node's eviction removed the pod."""
    stopped = case.event("Killing", "Stopping container")
    if case.pod.deleted_at is None and not (case.pod.gone and stopped):
        return None
    silent = [one for one in case.of(ProbeType.READINESS, ProbeType.LIVENESS) if one.answer is Answer.SILENCE]
    also = ("loop-blocked-readiness",) if silent else ()
    return Opinion("deleted", CERTAIN, also=also).because(
        f"deletion asked for, grace ends {clock(case.pod.deleted_at)}" if case.pod.deleted_at else "the pod is gone",
        f'event Killing: "{stopped.message}" at {clock(stopped.last_at)}: not by a probe' if stopped else "",
        f"condition DisruptionTarget: {case.pod.disruption}" if case.pod.disruption else _by_whom(case, snapshot),
        *(words.missed(case, one) for one in silent),
    )


BY_A_PERSON = "its controller did not remove it: a person or a drain did"


def _by_whom(case: Case, snapshot: Snapshot) -> str:
    for event in snapshot.events:
        found = _REPLACED.search(event.message)
        if found and (found[1] or found[2]) == case.pod.name and event.namespace == case.pod.namespace:
            why = "it is over or was given up" if event.kind == "Job" else "a rollout or scaling down"
            return f"its {event.kind} {event.name} removed it: {why}"
    evicted = case.event("TaintManagerEviction") or case.event("Evicted") or case.event("Preempted")
    if evicted is not None:
        return f'event {evicted.reason}: "{evicted.message}"'
    if not snapshot.events_read:
        return ""
    return BY_A_PERSON


def missed_probes(case: Case, *types: ProbeType) -> Miss | None:
    """The miss that describes the trouble best, of an instance that still runs."""
    since = case.container.running_since or 0.0
    return dominant(one for one in case.of(*types) if one.last_at >= since - 1)


def missed(case: Case, snapshot: Snapshot) -> Opinion | None:
    """Probes failed, and nothing was killed, yet or at all."""
    main = missed_probes(case, ProbeType.LIVENESS)
    if main is not None and main.answer is Answer.UNHEALTHY and observed(case, case.probe(ProbeType.LIVENESS)):
        return Opinion("loop-blocked", LIKELY).because(words.missed(case, main), BY_OBSERVER, NOT_YET)
    if main is not None and main.answer in (Answer.WRONG, Answer.BROKEN, Answer.UNHEALTHY):
        return _answered(case, main)
    ready = missed_probes(case, ProbeType.READINESS)
    if ready is not None and ready.answer is Answer.UNHEALTHY and observed(case, case.probe(ProbeType.READINESS)):
        return _not_served(case, ready) if case.container.started else None
    if ready is not None and not case.container.ready and ready.answer in (Answer.WRONG, Answer.UNHEALTHY):
        return _answered(case, ready)
    silent = [m for m in (main, ready) if m is not None and m.answer is Answer.SILENCE]
    if not silent:
        return None
    texts = [words.missed(case, one) for one in silent]
    if silence.told_last(case) is not None:
        return silence.judge(case).because(*texts, NOT_YET)
    if _while_starting(case, silent):
        early = "all of them within seconds of the start: the port may have been open before the app could answer"
        return unknown(("slow-start", "loop-blocked-readiness"), *texts, early)
    if ready in silent and not case.limited and (main not in silent or case.container.ready):
        return Opinion("loop-blocked-readiness", LIKELY).because(*texts, NOT_YET)
    blocked = "loop-blocked-readiness" if ready in silent else "loop-blocked"
    others = [cause for cause in silence.candidates(case) if cause != "loop-blocked"]
    return unknown((blocked, *others), *texts, NOT_YET, silence.limit(case))


def lost(case: Case, snapshot: Snapshot) -> Opinion | None:
    """A pod that is gone kept failing; its end is not known any more."""
    failing = case.event("BackOff", "restarting failed")
    if not case.pod.gone or failing is None:
        return None
    text = f'event BackOff: "{failing.message}" at {clock(failing.last_at)}; the pod is gone, and how it ended with it'
    return unknown(("crash", "oom", "loop-blocked"), text)


BY_OBSERVER = "unstall's observer answered for the event loop"


def _not_served(case: Case, ready: Miss) -> Opinion:
    """The observer's word that requests wait: for a blocked loop, a full thread pool, or the end of the start."""
    others = ("threadpool-exhausted", "slow-start")
    return unknown(("loop-blocked-readiness", *others), words.missed(case, ready), BY_OBSERVER, NOT_YET)


def _while_starting(case: Case, silent: list[Miss]) -> bool:
    """Whether it may never have answered before: nobody refused, and it had only just been started."""
    since = case.container.running_since
    if since is None or any(one.answer is Answer.REFUSED for one in case.misses):
        return False
    probe = case.probe(silent[0].type)
    patience_s = probe.initial_delay_s + 2 * probe.period_s if probe else 20
    return all(one.first_at >= since - 1 and one.last_at <= since + max(patience_s, 10) for one in silent)


NOT_YET = "nothing was restarted: fewer failures in a row than a kill needs, or no liveness probe"


def _answered(case: Case, main: Miss) -> Opinion:
    cause = "health-says-no" if main.answer is Answer.UNHEALTHY else "probe-misconfigured"
    correct = f"correct the {main.type} probe: {asked(case.probe(main.type))}" if cause != "health-says-no" else ""
    return Opinion(cause, LIKELY, next=correct).because(words.missed(case, main), "nothing was restarted so far")


def starting(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It has not started yet, and the start has used up much of what its probe allows."""
    probe = case.probe(ProbeType.STARTUP)
    main = missed_probes(case, ProbeType.STARTUP)
    if case.container.started or case.container.running_since is None or probe is None or main is None:
        return None
    own = observed(case, probe) and main.answer is Answer.UNHEALTHY
    if main.answer in (Answer.WRONG, Answer.BROKEN, Answer.UNHEALTHY) and not own:
        return _answered(case, main)
    if main.count * 2 < probe.failure_threshold:
        return None
    text = f"it is starting, and {main.count} of the {probe.failure_threshold} allowed failures are used up"
    return Opinion("slow-start", LIKELY).because(words.missed(case, main), text)


def kubelet(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The node was away and is back, and the container ran on."""
    away, since = case.event("NodeNotReady"), case.container.running_since
    restarted = [e for e in snapshot.events if e.kind == "Node" and e.name == case.pod.node and e.reason == "Starting"]
    if since is None or not case.container.ready:
        return None
    back = case.pod.ready and away is not None and (case.pod.ready_since or 0.0) >= away.last_at
    started = [event for event in restarted if event.last_at > since]
    if not (back and away and away.last_at > since) and not started:
        return None
    return Opinion("kubelet-restart", CERTAIN if started else LIKELY).because(
        f"the container has run since {clock(since)} and was not restarted",
        f"event NodeNotReady at {clock(away.last_at)}, ready again at {clock(case.pod.ready_since)}" if away else "",
        f"event Starting of node {case.pod.node} at {clock(started[-1].last_at)}" if started else "",
    )


def healthy(case: Case, snapshot: Snapshot) -> Opinion | None:
    """Nothing ended and no probe failed, apart from the first moments of a start."""
    if case.container.kind == "init" and case.container.restarts == 0 and not case.container.waiting:
        return Opinion("healthy", CERTAIN, ("an init container, not restarted",))
    if case.container.restarts or case.pod.gone or case.container.waiting == "CrashLoopBackOff":
        return None
    if not snapshot.events_read:
        return Opinion("healthy", LIKELY, ("never restarted; the events could not be read",)).because(*_hidden(case))
    away = case.event("NodeNotReady")
    texts = (
        f"the node was not ready at {clock(away.last_at)}: that restarts nothing" if away else "",
        _waiting(case),
        *_hidden(case),
    )
    sure = LIKELY if _hidden(case) else CERTAIN
    return Opinion("healthy", sure, ("never restarted, and no probe missed beyond the start",)).because(*texts)


def forgotten(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It was restarted, and neither its last end nor an event is there any more."""
    if not case.container.restarts or case.end is not None or case.pod.gone:
        return None
    told = endings.earlier_kill(case) if case.kill else None
    text = "its last end is not in the pod's status any more: the node has cleaned it up, or was replaced"
    rest = ("loop-blocked", "crash", "oom", "node-restart")
    return unknown(tuple(dict.fromkeys((*((told,) if told else ()), *rest))), text)


def _waiting(case: Case) -> str:
    return f"it waits: {case.container.waiting}" if case.container.waiting else ""


def _hidden(case: Case) -> list[str]:
    """Why a block might have left no record here."""
    texts = []
    liveness, readiness = case.probe(ProbeType.LIVENESS), case.probe(ProbeType.READINESS)
    both = [probe for probe in (liveness, readiness) if probe is not None]
    if not both:
        texts.append("it has no liveness or readiness probe: a blocked loop would leave no record")
    elif all(isinstance(probe.handler, TcpSocket) for probe in both):
        texts.append(
            f"its only probe is {asked(both[0])}: the kernel accepts connections for a blocked loop, "
            "so a block would leave no record"
        )
    if workers(case) > 1:
        texts.append(
            f"it has {workers(case)} workers: while one loop is blocked another answers the probe, "
            "so a block would leave no record"
        )
    return texts


def workers(case: Case) -> int:
    """How many server processes the command or environment asks for, 1 where it says nothing."""
    text = " ".join(case.container.command)
    found = re.search(r"(?:--workers[= ]|-w[= ]?)(\d+)", text)
    if found:
        return int(found[1])
    variable = dict(case.container.environment).get("WEB_CONCURRENCY", "")
    return int(variable) if variable.isdigit() else 1


def rollout(case: Case, snapshot: Snapshot, opinion: Opinion) -> list[str]:
    """Whether the trouble came with a new revision: a sentence, or nothing."""
    kind, owner = case.pod.owner
    if kind != "ReplicaSet" or opinion.cause in ("healthy", "deleted", "unknown") or not case.container.restarts:
        return []
    base = owner.rpartition("-")[0]
    mine = [row for row in snapshot.rollouts if row[0] == case.pod.namespace and row[1].rpartition("-")[0] == base]
    own = next((row for row in mine if row[1] == owner), None)
    before = [row for row in mine if own is not None and row[2] < own[2]]
    if own is None or not before:
        return []
    old = max(before, key=lambda row: row[2])
    images = f" ({old[3]} to {own[3]})" if old[3] != own[3] else ""
    return [f"it runs revision {own[2]}, rolled out at {clock(own[4])}{images}"]
