"""From a cluster's records to the cause of each restart: a list of rules, the first that knows wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from unstall.model import ProbeType
from unstall.probe import endings, quiet, silence
from unstall.probe.case import Case, cases
from unstall.probe.cluster import Snapshot
from unstall.probe.evidence import Blocked
from unstall.probe.opinion import CAUSES, Opinion, unknown


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why one container was restarted, or that it was not.

    ``at`` is when the instance in question ended, else when the newest trouble was recorded, in seconds since
    1970. ``gone`` pods are known from their events only.
    """

    namespace: str
    pod: str
    container: str
    workload: str
    restarts: int
    cause: str
    confidence: str
    evidence: tuple[str, ...]
    next: str
    candidates: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    at: float | None = None
    exit_code: int | None = None
    stall: Blocked | None = None
    gone: bool = False
    kind: str = "container"


RULES = (
    quiet.ended_whole,
    quiet.image,
    quiet.config,
    endings.out_of_memory,
    endings.stalled,
    endings.node,
    endings.failed_probe,
    endings.told_to_stop,
    endings.job,
    endings.crash,
    endings.terminated,
    endings.sigkilled,
    endings.over,
    quiet.lost,
    quiet.deleted,
    quiet.missed,
    quiet.starting,
    quiet.kubelet,
    quiet.forgotten,
    quiet.healthy,
)


def diagnose(snapshot: Snapshot, only_workloads: bool = False) -> list[Diagnosis]:
    """Explain every container, restarted ones first, newest first.

    Pods that are gone are explained only where their events tell of trouble, or of a removal that was no rollout's.
    """
    # The rules look at a case's own events, and beyond them only at those of controllers and nodes.
    beyond = replace(snapshot, events=tuple(event for event in snapshot.events if event.kind != "Pod"))
    found = [_diagnosis(case, judge(case, beyond)) for case in cases(snapshot, only_workloads)]
    kept = [one for one in found if not one.gone or one.also or _worth_telling(one)]
    return sorted(kept, key=lambda one: (one.cause == "healthy", -(one.at or 0.0), one.namespace, one.pod))


def _worth_telling(gone: Diagnosis) -> bool:
    return bool(gone.evidence) and (gone.cause != "deleted" or quiet.BY_A_PERSON in gone.evidence)


def judge(case: Case, snapshot: Snapshot) -> Opinion:
    """The first rule's opinion, with what is known about earlier ends beside it."""
    for rule in RULES:
        opinion = rule(case, snapshot)
        if opinion is not None:
            return _beside(case, snapshot, opinion)
    return unknown(())


def _beside(case: Case, snapshot: Snapshot, opinion: Opinion) -> Opinion:
    also = list(opinion.also)
    notes = []
    if case.other_kills and case.kill is None:
        notes.append(f"{case.other_kills} earlier ends were kills by a probe")
        earlier = endings.earlier_kill(case)
        also += [earlier] if earlier else []
    if case.kill is not None and opinion.cause == "deleted":
        earlier = endings.earlier_kill(case)
        also += [earlier] if earlier else []
    if case.pod.deleted_at is not None and opinion.cause != "deleted":
        notes.append("the pod is being deleted now")
        also.append("deleted")
    if case.end is not None and snapshot.events_read and not case.pod.gone and not case.events:
        notes.append("its events are gone (a cluster keeps them one hour by default)")
    notes += quiet.rollout(case, snapshot, opinion)
    unique = tuple(dict.fromkeys(cause for cause in also if cause != opinion.cause))
    return Opinion(
        opinion.cause, opinion.confidence, opinion.evidence, opinion.candidates, unique, opinion.next
    ).because(*notes)


def _diagnosis(case: Case, opinion: Opinion) -> Diagnosis:
    end = case.end if case.end is not None and not case.killing else None
    trouble = [one.last_at for one in case.misses] + ([case.kill.last_at] if case.kill else [])
    at = end.finished_at if end else max(trouble, default=case.pod.deleted_at)
    evidence = opinion.evidence
    if opinion.candidates:
        evidence = (*evidence, f"candidates: {', '.join(opinion.candidates)}")
    stall = case.stall or (silence.told_last(case) if opinion.cause == "loop-blocked" else None)
    return Diagnosis(
        case.pod.namespace,
        case.pod.name,
        case.container.name,
        case.pod.workload,
        case.container.restarts,
        opinion.cause,
        opinion.confidence,
        evidence,
        opinion.next or CAUSES[opinion.cause][1],
        opinion.candidates,
        opinion.also,
        at,
        end.exit_code if end else None,
        stall,
        case.pod.gone,
        case.container.kind,
    )


def logs_wanted(snapshot: Snapshot) -> Iterable[tuple[str, str, str, bool]]:
    """Which logs would tell more, newest end first: (namespace, pod, container, the running instance's)."""
    rows = []
    for case in cases(snapshot):
        key = (case.pod.namespace, case.pod.name, case.container.name)
        if case.pod.gone or case.container.name == "":
            continue
        if case.end is not None and not case.killing:
            over = case.container.running_since is None and case.container.restarts == 0
            rows.append((-(case.end.finished_at or 0.0), (*key, over)))
        elif case.killing or case.of(ProbeType.LIVENESS, ProbeType.READINESS):
            rows.append((-max(one.last_at for one in case.misses) if case.misses else 0.0, (*key, True)))
    return [row for _, row in sorted(rows)]
