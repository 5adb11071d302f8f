"""Why a probe got no answer in time: a blocked loop, a full thread pool and a throttled CPU look the same to the
kubelet, and differ in what the server did with SIGTERM.

A blocked loop never handles SIGTERM before the block ends: no ``Shutting down`` in the log, and its listener stays
open until SIGKILL. A free loop with a full thread pool handles it at once and then waits for its connections. A
throttled loop handles it late and may be killed while it ends.
"""

from __future__ import annotations

from dataclasses import replace

from unstall import units
from unstall.model import Grpc, ProbeType
from unstall.probe.case import Case, path_of
from unstall.probe.evidence import Answer, Blocked, Log
from unstall.probe.opinion import CERTAIN, LIKELY, Opinion, unknown

LATE_S = 2.5
"""SIGTERM handled later than this: the loop did not turn. Event times are truncated to seconds."""
PROMPT_S = 1.5
HEAVY = 0.1
"""Share of CFS periods throttled from which throttling counts as proof."""


def judge(case: Case) -> Opinion:
    """Tell apart why nobody answered in time."""
    for rule in (_written_down, _by_log, _by_listener):
        opinion = rule(case)
        if opinion is not None:
            return opinion.because(limit(case))
    if case.killing and case.log is None:
        missing = "the kill is not over: the log of this instance will tell them apart"
        after = f"look again in {case.pod.grace_s} s, when the grace is over: the log will tell"
        return replace(unknown(candidates(case)), next=after).because(missing, limit(case))
    missing = "" if case.log else "the log of the killed instance is not there to tell them apart"
    return unknown(candidates(case)).because(missing, limit(case))


def candidates(case: Case) -> tuple[str, ...]:
    """What may lie behind silence where nothing tells it apart, likeliest first."""
    throttled = ("cpu-throttled",) if case.limited else ()
    # A gRPC probe says the same where nobody listens as where nobody answers.
    asked = case.probe(case.killer or ProbeType.LIVENESS)
    elsewhere = ("probe-misconfigured",) if asked is not None and isinstance(asked.handler, Grpc) else ()
    return ("loop-blocked", "threadpool-exhausted", *throttled, *elsewhere)


def limit(case: Case) -> str:
    """What is known about the CPU limit and its effect; empty where there is no limit."""
    if case.container.cpu_limit is None:
        return ""
    share = case.throttled_share
    text = f"CPU limit {case.container.cpu_limit:g} cores"
    if share is None or case.throttling is None:
        return text + "; how often it throttled is not recorded here"
    return (
        f"{text}; throttled in {units.count(case.throttling.throttled)} of "
        f"{units.count(case.throttling.periods)} periods"
    )


def _written_down(case: Case) -> Opinion | None:
    stall = case.stall or told_last(case)
    if stall is None:
        return None
    where = "termination message" if case.stall else "log"
    if stall.environment:
        cause = "cpu-throttled" if stall.throttled_s > 0 or case.limited else ""
        text = f"{where}: {stall}, and the environment is to blame, not the code"
        return Opinion(cause, LIKELY, (text,)) if cause else unknown(("cpu-throttled", "node-restart"), text)
    site = f"mend {stall.site}: `unstall explain` names what to use instead" if stall.site else ""
    return Opinion("loop-blocked", CERTAIN, (f"{where}: {stall}",), next=site)


def told_last(case: Case) -> Blocked | None:
    """The stall the log tells of, if it is long enough to have cost a probe and none was answered after it."""
    log, probe = case.log, case.probe(case.killer or ProbeType.LIVENESS)
    if log is None or log.stall is None or probe is None or (log.stall.seconds or 0.0) < probe.timeout_s:
        return None
    path = path_of(probe)
    since = log.access[log.stall_at : log.before_shutdown]
    return None if any(line.path == path and line.status < 400 for line in since) else log.stall


def _by_log(case: Case) -> Opinion | None:
    log = case.log
    if log is None or not log.server:
        return None
    if not log.shutting_down:
        return _never_shut_down(case, log)
    if 0 < log.workers_shut < log.workers:
        text = f'log: {log.workers_shut} of {log.workers} workers wrote "Shutting down": another never saw SIGTERM'
        return Opinion("loop-blocked", LIKELY, (text,))
    late = None
    if log.shut_at is not None and case.kill is not None and case.exact:
        late = log.shut_at - case.kill.last_at
    if late is not None and LATE_S < late < 3600:
        text = f"log: SIGTERM was handled {units.seconds(late)} after it was sent: the loop did not turn until then"
        cause = "cpu-throttled" if case.limited and (case.throttled_share or 0) >= HEAVY else "loop-blocked"
        return Opinion(cause, LIKELY if case.limited else CERTAIN, (text,))
    if log.waiting and not log.finished:
        text = 'log: "Shutting down", then "Waiting for connections to close": the loop was free, the requests hung'
        return Opinion("threadpool-exhausted", LIKELY, (text,))
    if case.end is not None and case.end.exit_code == 137:
        return _killed_while_ending(case, log)
    return _ended_in_the_grace(case, log, late)


def _never_shut_down(case: Case, log: Log) -> Opinion | None:
    text = 'log: no "Shutting down" after the last request: the loop never handled SIGTERM'
    if not log.first_process and in_a_shell(case):
        shell = "log: process 1 is a shell, which does not pass SIGTERM on, so the log cannot tell"
        return unknown(candidates(case), shell)
    if not log.started:
        return Opinion("slow-start", LIKELY, ('log: no "Application startup complete"',))
    ended = case.end is not None and not case.killing
    if ended and case.end is not None and case.end.exit_code != 137:
        return unknown(candidates(case), text.replace("the loop never handled SIGTERM", "yet it was not SIGKILL"))
    heard = log.first_process or case.container.command[:2] == ("unstall", "run")  # which passes signals on
    sure = case.exact and heard and not case.limited and ended
    return Opinion("loop-blocked", CERTAIN if sure else LIKELY, (text,))


def in_a_shell(case: Case) -> bool:
    """Whether process 1 is a shell, which does not pass SIGTERM on."""
    words = case.container.command
    name = words[0].rpartition("/")[2] if words else ""
    return name in ("sh", "bash", "ash", "dash", "zsh") and "-c" in words[1:]


def _killed_while_ending(case: Case, log: Log) -> Opinion:
    if not log.finished:
        text = 'log: "Shutting down", but it had not finished when SIGKILL came'
        return unknown(("threadpool-exhausted", *candidates(case)[2:], "loop-blocked"), text)
    text = 'log: "Shutting down" to "Finished server process", and SIGKILL all the same: it ended too slowly'
    if case.limited:
        sure = (case.throttled_share or 0) >= HEAVY
        return Opinion("cpu-throttled", CERTAIN if sure else LIKELY, (text,))
    return unknown(("threadpool-exhausted", "cpu-throttled"), text)


def _ended_in_the_grace(case: Case, log: Log, late: float | None) -> Opinion:
    path = path_of(case.probe(case.killer or ProbeType.LIVENESS))
    before, after = log.access[: log.before_shutdown], log.access[log.before_shutdown :]
    last = before[-1] if before else None
    if log.waiting:
        text = 'log: "Shutting down", then "Waiting for connections to close"'
        if _hung_after_kill(case):
            hung = "yet the readiness probe still hung after SIGTERM"
            return unknown(("loop-blocked", "threadpool-exhausted"), text, hung)
        if late is not None or last is None or last.path == path:
            return Opinion("threadpool-exhausted", LIKELY, (text + ": the loop was free, the requests hung",))
        return unknown(("threadpool-exhausted", "loop-blocked"), text)
    if late is not None and late < PROMPT_S:
        text = "log: SIGTERM was handled at once, so the loop was free"
        return unknown(("threadpool-exhausted", "health-says-no"), text)
    if path is None:
        # What the probe asks is not known, so no request of the log can be told from its own.
        return unknown((*candidates(case), "health-says-no"), "log: a clean shutdown")
    if case.limited and ((case.throttled_share or 0) >= HEAVY or (last is not None and last.path == path)):
        return Opinion("cpu-throttled", LIKELY, ("log: it went on answering, too slowly for the probe",))
    others = [line for line in (*after, *before[-1:]) if line.path not in _asked(case)]
    if others:
        text = (
            f"log: {others[0].method} {others[0].path} was answered {'after' if after else 'last before'} the shutdown"
        )
        return Opinion("loop-blocked", LIKELY, (text + ": the block ended in the grace",))
    return unknown((*candidates(case), "health-says-no"), "log: a clean shutdown, and no request before it stands out")


def _asked(case: Case) -> set[str | None]:
    """The paths that the container's own probes ask."""
    return {path_of(probe) for probe in case.container.probes}


def _hung_after_kill(case: Case) -> bool:
    """Whether a readiness probe that began after SIGTERM got no answer: nobody had closed the listener."""
    if case.kill is None or not case.exact:
        return False
    readiness = case.probe(ProbeType.READINESS)
    patience_s = readiness.timeout_s if readiness else 1
    until = case.end.finished_at if case.end and not case.killing else None
    hung = [m for m in case.of(ProbeType.READINESS) if m.last_at - patience_s > case.kill.last_at + 1]
    return any(m.answer is Answer.SILENCE and (until is None or m.last_at <= until + 1) for m in hung)


def _by_listener(case: Case) -> Opinion | None:
    """A listener that still took connections long after SIGTERM: the loop had not handled it."""
    if case.limited or case.kill is None:
        return None
    resets = [one for one in case.misses if one.answer is Answer.RESET and _at_a_kill(case, one.last_at)]
    if resets and case.exact:
        text = f"a {resets[-1].type} probe was cut off by SIGKILL: the port was still open, SIGTERM never handled"
        return Opinion("loop-blocked", LIKELY, (text,))
    if case.killing and _hung_after_kill(case):
        text = "the readiness probe still hung after SIGTERM: the port was open, so SIGTERM was not handled"
        return Opinion("loop-blocked", LIKELY, (text,))
    return None


def _at_a_kill(case: Case, at: float) -> bool:
    """Whether a SIGKILL after the grace may have fallen on this second."""
    if case.kill is None or case.end is None or case.end.exit_code != 137 or case.end.finished_at is None:
        return False
    probe = case.probe(case.killer or ProbeType.LIVENESS)
    grace = probe.grace_s if probe is not None and probe.grace_s is not None else case.pod.grace_s
    first = case.kill.first_at + max(grace, 2) - 1
    return not case.killing and first <= at <= case.end.finished_at + 1
