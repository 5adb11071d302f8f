"""Rules for an instance that ended, or is being killed: what ended it.

Every rule takes a case and the whole snapshot, and returns None where it does not know.
"""

from __future__ import annotations

from unstall.model import Exec, ProbeType
from unstall.probe import silence
from unstall.probe.case import Case, dominant, observed, path_of, port_of
from unstall.probe.cluster import Event, Snapshot
from unstall.probe.evidence import Answer, Log, Miss, judge_status, miss, probe_that_killed
from unstall.probe.opinion import CERTAIN, LIKELY, Opinion, unknown
from unstall.probe.words import asked, clock, ended, killed, missed

UNABLE_TO_RUN = ("StartError", "ContainerCannotRun", "RunContainerError")
MEMORY = ("OOMKilling", "SystemOOM")


def out_of_memory(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The runtime itself says that the kernel killed it for memory, or the node says so of that moment."""
    end = case.end
    if end is None or case.killing:
        return None
    size = f", memory limit {case.container.memory_limit}" if case.container.memory_limit else ""
    if end.reason == "OOMKilled":
        return Opinion("oom", CERTAIN, (ended(case) + size,))
    told = _node_out_of_memory(case, snapshot)
    if end.exit_code != 137 or case.killer is not None or told is None:
        return None
    return Opinion("oom", LIKELY, (ended(case) + size, f'event {told.reason} of node {told.name}: "{told.message}"'))


def _node_out_of_memory(case: Case, snapshot: Snapshot) -> Event | None:
    """What the node said of memory in the second in which the instance ended."""
    finish = case.end.finished_at if case.end else None
    said = [e for e in snapshot.events if e.kind == "Node" and e.name == case.pod.node and e.reason in MEMORY]
    return next((e for e in said if finish is not None and abs(e.last_at - finish) <= 3), None)


def stalled(case: Case, snapshot: Snapshot) -> Opinion | None:
    """A recorder in the process left the stall in the termination message."""
    if case.stall is None or case.end is None or (case.killer is None and case.end.exit_code not in (0, 137, 143)):
        return None
    kill = killed(case)
    return silence.judge(case).because(ended(case), kill, *(_misses(case) if kill else ()))


def node(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The node or the runtime went down under it."""
    end = case.end
    if case.pod.reason in ("Shutdown", "NodeShutdown", "Terminated") and case.pod.phase == "Failed":
        return Opinion("node-restart", CERTAIN, (f"pod {case.pod.reason}: {case.pod.message}".rstrip(": "),))
    if case.pod.reason == "NodeLost":
        return Opinion("node-restart", LIKELY, (f"pod NodeLost: {case.pod.message}".rstrip(": "),))
    if end is None or case.killing:
        return None
    lost = end.reason in ("Unknown", "ContainerStatusUnknown")
    changed = case.event("SandboxChanged")
    began, finished = end.started_at or 0.0, end.finished_at or 0.0
    replaced = changed is not None and began < changed.last_at and changed.last_at >= finished - 5
    if not lost and (not replaced or case.exact):
        return None
    away = case.event("NodeNotReady")
    texts = (
        ended(case),
        f'event SandboxChanged: "{changed.message}"' if changed and replaced else "",
        "event NodeNotReady on this pod" if away else "",
        "no kill by a probe is recorded" if case.would_show or replaced else "",
    )
    return Opinion("node-restart", CERTAIN if lost and replaced else LIKELY).because(*texts)


def failed_probe(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The kubelet killed it because of a probe."""
    if case.killer is None:
        return None
    misses = case.during(case.killer)
    main = dominant(misses)
    opinion = _by_answer(case, main)
    if not case.exact and opinion.confidence == CERTAIN:
        opinion = Opinion(opinion.cause, LIKELY, opinion.evidence, opinion.candidates, next=opinion.next)
    now = "the kill is going on: the container is in its grace period" if case.killing else ""
    stale = "" if case.exact else "this end has no kill on record: the kubelet drops events beyond its budget"
    return Opinion(opinion.cause, opinion.confidence, (), opinion.candidates, opinion.also, opinion.next).because(
        ended(case), killed(case), now, stale, *_misses(case), *opinion.evidence
    )


def _misses(case: Case) -> tuple[str, ...]:
    return tuple(missed(case, one) for one in case.during(case.killer or ProbeType.LIVENESS)[-3:])


def _by_answer(case: Case, main: Miss | None) -> Opinion:
    killer = case.killer or ProbeType.LIVENESS
    if main is None:
        opinion = by_statuses(case) if case.log else None
        return opinion or (silence.judge(case) if case.log and case.log.server else unknown(silence.candidates(case)))
    match main.answer:
        case Answer.WRONG | Answer.BROKEN:
            return Opinion("probe-misconfigured", CERTAIN, (), next=_correct(case, main))
        case Answer.UNHEALTHY if observed(case, case.probe(killer)):
            return _told_by_observer(case, killer)
        case Answer.UNHEALTHY:
            return Opinion("health-says-no", CERTAIN)
        case Answer.REFUSED:
            return _refused(case, killer)
        case Answer.SILENCE:
            listened = case.log is not None and case.log.started
            if killer is ProbeType.STARTUP and not listened:
                return Opinion("slow-start", LIKELY, ("it had not finished starting",))
            return silence.judge(case)
        case _:
            said = f"the probe's answer was: {main.text[:120]}" if main.text else "the probe failed without a word"
            if isinstance(getattr(case.probe(killer), "handler", None), Exec):
                return unknown(("health-says-no", "probe-misconfigured", *silence.candidates(case)), said)
            return unknown((*silence.candidates(case), "crash"), said)


def _told_by_observer(case: Case, killer: ProbeType) -> Opinion:
    if killer is ProbeType.STARTUP:
        return Opinion("slow-start", CERTAIN, ("unstall's observer answered that the start was not complete",))
    text = "unstall's observer answered that the event loop gave no sign for longer than --dead-after"
    return Opinion("loop-blocked", CERTAIN, (text,))


def _correct(case: Case, main: Miss) -> str:
    probe = case.probe(main.type)
    status = f" (it answers {main.status})" if main.status else ""
    return f"correct the {main.type} probe: {asked(probe)}{status}" if probe else ""


def _refused(case: Case, killer: ProbeType) -> Opinion:
    """Nobody listened where the probe asked: too early, or elsewhere."""
    elsewhere = _listens_elsewhere(case, killer) or _ready_elsewhere(case, killer)
    if elsewhere:
        return elsewhere
    log, end = case.log, case.end if not case.killing else None
    if log is not None and log.server and log.started:
        text = "log: it had started and listened, and later refused connections"
        return unknown(("crash", "slow-start", "probe-misconfigured"), text)
    if log is not None and log.server:
        sure = CERTAIN if killer is ProbeType.STARTUP else LIKELY
        return Opinion("slow-start", sure, ("log: the start had not finished when it was killed",))
    # Process 1 ignores SIGTERM until the server has put its handler in: then only SIGKILL ends it.
    deaf = end is not None and end.exit_code == 137 and not silence.in_a_shell(case)
    if deaf and (killer is ProbeType.STARTUP or log is not None):
        return Opinion("slow-start", LIKELY, ("it ignored SIGTERM: its server had not come to its handler yet",))
    if killer is ProbeType.STARTUP and case.killing:
        return Opinion("slow-start", LIKELY)
    return _open()


def _open() -> Opinion:
    return unknown(("slow-start", "probe-misconfigured"), "nobody listened on the probe's port")


def _ready_elsewhere(case: Case, killer: ProbeType) -> Opinion | None:
    """The readiness probe passes on another port while this one is refused."""
    readiness, probe = case.probe(ProbeType.READINESS), case.probe(killer)
    if readiness is None or probe is None or not case.container.ready or killer is ProbeType.STARTUP:
        return None
    own, other = port_of(case, probe), port_of(case, readiness)
    late = [one for one in case.of(killer) if one.last_at > (case.pod.ready_since or 0.0) + 1]
    if own is None or other is None or own == other or not (late and case.pod.ready):
        return None
    text = f"it is ready on port {other} while the {killer} probe is refused on port {own}"
    return Opinion("probe-misconfigured", LIKELY, (text,), next=f"let the {killer} probe ask port {other}")


def _listens_elsewhere(case: Case, killer: ProbeType) -> Opinion | None:
    probe = case.probe(killer)
    port, listens = port_of(case, probe), case.log.listens if case.log else None
    if listens is None or port is None:
        return None
    host, own = listens
    if own != port:
        text = f"log: the server listens on port {own}, the probe asks port {port}"
        return Opinion("probe-misconfigured", CERTAIN, (text,), next=f"let the {killer} probe ask port {own}")
    if host in ("127.0.0.1", "localhost", "::1"):
        text = f"log: the server listens on {host} only, where the kubelet cannot reach it"
        return Opinion("probe-misconfigured", CERTAIN, (text,), next="start the server with --host 0.0.0.0")
    return None


def told_to_stop(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The kubelet ended it for a reason that is neither a probe nor the end of its pod."""
    if case.end is None or case.killing or case.killer is not None:
        return None
    hook = case.inside("FailedPostStartHook")
    if hook is not None and case.end.reason not in UNABLE_TO_RUN:
        correct = "correct lifecycle.postStart: the kubelet kills a container whose hook fails"
        text = f'event FailedPostStartHook: "{hook.message[:300]}"'
        return Opinion("config-error", LIKELY, (ended(case), text), next=correct)
    kill = case.inside("Killing")
    if kill is None or "Stopping container" in kill.message or probe_that_killed(kill):
        return None
    text = f'event Killing: "{kill.message}" at {clock(kill.last_at)}: not by a probe'
    return Opinion("sigterm-not-by-probe", LIKELY, (ended(case), text))


def job(case: Case, snapshot: Snapshot) -> Opinion | None:
    """A job's program ended with an error, or its job gave up on it."""
    kind, name = case.pod.owner
    if kind != "Job" or case.killing:
        return None
    events = [e for e in snapshot.events if e.kind == "Job" and (e.namespace, e.name) == (case.pod.namespace, name)]
    given_up = next((e for e in events if e.reason in ("BackoffLimitExceeded", "DeadlineExceeded")), None)
    said = f'event {given_up.reason} of job {name}: "{given_up.message}"' if given_up else ""
    failed = case.end is not None and case.end.exit_code != 0
    stopped = case.pod.gone or case.pod.deleted_at is not None
    if not failed and not (stopped and given_up):
        return None
    return Opinion("job-failed", CERTAIN, next=f"read its last lines: kubectl logs job/{name}").because(
        ended(case), said, _error(case)
    )


def _error(case: Case) -> str:
    if case.log and case.log.error:
        return f"log: {case.log.error[:200]}"
    if case.stall is not None:
        return f"termination message: {case.stall}"
    message = case.end.message.strip().splitlines() if case.end else []
    return f"termination message: {message[-1][:200]}" if message else ""


def crash(case: Case, snapshot: Snapshot) -> Opinion | None:
    """The program ended with an exit status of its own."""
    end = case.end
    if end is None or case.killing or case.killer is not None or end.exit_code in (0, 137, 143):
        return None
    if end.reason in UNABLE_TO_RUN or end.exit_code in (126, 127):
        sure = CERTAIN if end.reason in UNABLE_TO_RUN else LIKELY
        return Opinion("config-error", sure, next="correct command or image: the program cannot be started").because(
            ended(case), _error(case)
        )
    failed = "log: Application startup failed" if case.log and case.log.failed_start else ""
    signal = f"signal {end.exit_code - 128}" if 128 < end.exit_code < 160 else ""
    no_kill = "no kill by a probe is recorded" if case.would_show else ""
    # Some programs leave a SIGTERM with a status of their own.
    quit_well = case.log is not None and case.log.shutting_down and not case.log.error and not case.would_show
    sure = LIKELY if quit_well else CERTAIN
    return Opinion("crash", sure).because(ended(case), signal, failed, _error(case), no_kill)


def terminated(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It ended at a SIGTERM, or with 0, and no probe is known to have asked for that."""
    end = case.end
    if end is None or case.killing or case.killer is not None or end.exit_code not in (0, 143):
        return None
    if case.container.kind == "init" or (case.container.restarts == 0 and case.pod.restart_policy != "Always"):
        return None
    texts = (ended(case), "no kill by a probe is recorded" if case.would_show else "")
    if case.log is not None and case.log.worn_out:
        own = "log: the server reached its own limit of requests (--limit-max-requests) and ended itself"
        return Opinion("crash", CERTAIN, next="raise or remove --limit-max-requests").because(*texts, own)
    shut = case.log is not None and case.log.shutting_down
    if case.would_show:
        if shut or end.exit_code == 143:
            log = "log: a clean shutdown" if shut else ""
            return Opinion("sigterm-not-by-probe", CERTAIN if shut else LIKELY, texts).because(log)
        return unknown(("sigterm-not-by-probe", "crash"), *texts, "it ended by itself or at a SIGTERM, with status 0")
    opinion = by_statuses(case)
    if opinion is None and case.log is not None and shut:
        opinion = _clean_shutdown(case, case.log)
    opinion = opinion or unknown(("loop-blocked", "health-says-no", "probe-misconfigured", "sigterm-not-by-probe"))
    return _said(opinion, texts)


def _clean_shutdown(case: Case, log: Log) -> Opinion:
    answers, expected = _answered(case)
    if expected == 0:
        return unknown(("sigterm-not-by-probe", *silence.candidates(case)), "log: a clean shutdown")
    if answers >= expected:
        text = f"log: the probes were answered to the end ({answers} answers), then a clean shutdown"
        return Opinion("sigterm-not-by-probe", LIKELY, (text,))
    short = f"log: {answers} probe answers where a free loop gives at least {expected}"
    return silence.judge(case).because(short)


def sigkilled(case: Case, snapshot: Snapshot) -> Opinion | None:
    """SIGKILL, and no probe is known to have asked for it."""
    end = case.end
    if end is None or case.killing or case.killer is not None or end.exit_code != 137:
        return None
    if case.would_show:
        text = "no kill by a probe is recorded: SIGKILL came from elsewhere"
        return unknown(("oom", "node-restart"), ended(case), text)
    opinion = by_statuses(case)
    log = case.log
    if opinion is None and log is not None and log.server and case.container.probes:
        answers, expected = _answered(case)
        if not log.started:
            opinion = _out_of_patience(case)
        elif log.shutting_down or answers < expected:
            short = f"log: {answers} probe answers where a free loop gives at least {expected}"
            opinion = silence.judge(case).because(short if answers < expected else "")
    opinion = opinion or _out_of_patience(case)
    if opinion is None and log is not None and log.server and not log.started:
        opinion = unknown(("slow-start", "oom"), 'log: no "Application startup complete"')
    return _said(opinion or unknown((*silence.candidates(case), "slow-start", "oom")), (ended(case),))


def _out_of_patience(case: Case) -> Opinion | None:
    """It lived just as long as the probe of its start and the grace allow, and its log never came to listening."""
    probe, life = case.probe(ProbeType.STARTUP) or case.probe(ProbeType.LIVENESS), case.life_s
    if probe is None or life is None or case.log is None or case.log.started:
        return None
    grace = probe.grace_s if probe.grace_s is not None else case.pod.grace_s
    budget = probe.initial_delay_s + probe.failure_threshold * probe.period_s + max(grace, 2)
    if not budget - probe.period_s - 1 <= life <= budget + probe.period_s + probe.timeout_s + 1:
        return None
    text = f"it lived {life:.0f} s: its {probe.type} probe and grace allow about {budget} s, and it never listened"
    return Opinion("slow-start", LIKELY, (text,))


def _said(opinion: Opinion, texts: tuple[str, ...]) -> Opinion:
    # Without the kill on record the log alone carries the verdict: never more than likely.
    sure = LIKELY if opinion.confidence == CERTAIN else opinion.confidence
    return Opinion(opinion.cause, sure, (), opinion.candidates, opinion.also, opinion.next).because(
        *texts, *opinion.evidence
    )


def by_statuses(case: Case) -> Opinion | None:
    """What the log says the liveness probe was answered last, where that alone explains a kill."""
    probe = case.probe(ProbeType.LIVENESS)
    path = path_of(probe)
    if case.log is None or probe is None or path is None:
        return None
    last = case.log.answers(path)[-probe.failure_threshold :]
    if len(last) < probe.failure_threshold or min(last) < 400:
        return None
    text = f"log: GET {path} was answered {', '.join(str(status) for status in last)} at the end"
    if judge_status(last[-1]) is Answer.UNHEALTHY:
        return Opinion("health-says-no", LIKELY, (text,))
    return Opinion("probe-misconfigured", LIKELY, (text,), next=f"correct the liveness probe: {asked(probe)}")


def _answered(case: Case) -> tuple[int, int]:
    """How often the probes' paths were answered, and how often at least if the loop had been free all its life.
    (0, 0) where the log cannot tell."""
    if case.log is None or case.log.cut or case.life_s is None or not (case.log.started and case.log.access):
        return 0, 0
    expected, paths = 0, set[str]()
    for probe in case.container.probes:
        path = path_of(probe)
        if path is None or probe.type is ProbeType.STARTUP:
            continue
        paths.add(path)
        # Two seconds for the start, and one probe less since its phase is not known.
        expected += max(0, int((case.life_s - probe.initial_delay_s - 2) / probe.period_s))
    return sum(len(case.log.answers(path)) for path in paths), expected


def over(case: Case, snapshot: Snapshot) -> Opinion | None:
    """It ended well: an init container, or a pod that is done."""
    if case.end is None or case.killing or case.end.exit_code != 0:
        return None
    return Opinion("healthy", CERTAIN, ("it ended with status 0, as it should",))


def earlier_kill(case: Case) -> str | None:
    """The cause of kills before the end in question, where the probe's answer names one."""
    main = dominant(one for event in case.events if (one := miss(event)) and one.type is ProbeType.LIVENESS)
    known = {Answer.WRONG: "probe-misconfigured", Answer.UNHEALTHY: "health-says-no", Answer.SILENCE: "loop-blocked"}
    return known.get(main.answer) if main else None
