"""Your app under your probes: one arm, or two arms whose trials alternate."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unstall import units
from unstall.errors import BadInput, BadManifest
from unstall.kubelet.spec import PodSpec
from unstall.lab import measure
from unstall.lab.load import Call, LoadPlan
from unstall.lab.serve import Server, free_port, require_free
from unstall.lab.target import Target
from unstall.lab.trial import TrialPlan
from unstall.model import Arm, Exec, Experiment, Grpc, HttpGet, ProbeSpec, TcpSocket, Trial, Verdict

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an app: the arms by name, the pod's probes, the load (its ``url`` is set per trial)."""

    arms: tuple[tuple[str, Target], ...]
    pod: PodSpec
    load: LoadPlan
    trials: int = 1
    port: int | None = None
    start_limit_s: float = 60.0
    server_arguments: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[tuple[str, str, int], ...]:
        """Key, arm and number of each trial, arms alternating so that a drifting machine treats both alike."""
        return tuple((f"{name} {n}", name, n) for n in range(1, self.trials + 1) for name, _ in self.arms)

    @property
    def expected_s(self) -> float:
        """About how long all trials take, starting and stopping included."""
        return len(self.keys) * (max(self.load.duration_s, 1.0) + 5.0)

    def plan(self, key: str) -> TrialPlan:
        """The plan of one trial. Both arms of a pair get the same requests at the same times."""
        _, name, number = next(entry for entry in self.keys if entry[0] == key)
        target = dict(self.arms)[name]
        port = require_free(self.port) if self.port else free_port()
        observer = free_port() if health_port(self.pod) is not None else None
        return TrialPlan(
            arm=name,
            server=Server(target.app, target.folder, port, self.server_arguments, _observed(self.pod, observer)),
            pod=replace(
                self.pod,
                probes=on_port(self.pod, port, observer),
                ports=tuple((n, port) for n, _ in self.pod.ports),
            ),
            load=replace(self.load, url=f"http://127.0.0.1:{port}", seed=self.load.seed + number),
            lasts_s=self.load.duration_s,
            seed=1000 + number,
            start_limit_s=self.start_limit_s,
        )


def health_port(pod: PodSpec) -> int | None:
    """The port of the observer where the container's own variables name one."""
    told = dict(pod.env).get("UNSTALL_HEALTH_PORT", "")
    return int(told) if told.isdigit() else None


def _observed(pod: PodSpec, observer: int | None) -> tuple[tuple[str, str], ...]:
    """The variables that have the observer answer here as it does in the pod."""
    if observer is None:
        return ()
    kept = tuple((name, value) for name, value in pod.env if name in ("UNSTALL_DEAD_AFTER", "UNSTALL_BUSY_AFTER"))
    return (("UNSTALL_HEALTH_PORT", str(observer)), *kept)


def on_port(pod: PodSpec, port: int, observer: int | None = None) -> tuple[ProbeSpec, ...]:
    """The pod's probes, asked of the port that the app was given here, or its observer where they ask that.

    Raises:
        BadManifest: the probes ask more than one port of the app, and one server answers only one.
    """
    asked = {p.handler.port for p in pod.probes if not isinstance(p.handler, Exec)}
    numbers = {dict(pod.ports).get(str(one), one) for one in asked} - {health_port(pod)}
    if len(numbers) > 1:
        raise BadManifest(
            f"the probes of container {pod.container} ask ports {', '.join(map(str, sorted(numbers, key=str)))}; "
            "the app is served on one",
            "choose the probes of the app's own port, with --liveness in place of --manifest",
        )
    moved = []
    for probe in pod.probes:
        if isinstance(probe.handler, Exec):
            moved.append(probe)
            continue
        number = dict(pod.ports).get(str(probe.handler.port), probe.handler.port)
        here = observer if observer is not None and number == health_port(pod) else port
        moved.append(replace(probe, handler=_moved(probe.handler, here)))
    return tuple(moved)


def _moved(handler: HttpGet | TcpSocket | Grpc, port: int) -> HttpGet | TcpSocket | Grpc:
    return replace(handler, port=port)


def require_allowed(pod: PodSpec, allow_exec: bool, allow_remote: bool) -> None:
    """Refuse what would run commands or leave this machine, unless it was allowed.

    Raises:
        BadInput: says what the manifest asks for and which flag allows it.
    """
    for probe in pod.probes:
        if isinstance(probe.handler, Exec) and not allow_exec:
            shown = " ".join(probe.handler.command)
            raise BadInput(
                f"the {probe.type} probe runs a command on this machine: {shown}", "allow it with --allow-exec"
            )
        host = getattr(probe.handler, "host", None)
        if host and host not in LOOPBACK and not allow_remote:
            raise BadInput(f"the {probe.type} probe asks {host}, not this machine", "allow it with --allow-remote")
    if (pod.prestop is not None or pod.poststart is not None) and not allow_exec:
        raise BadInput(
            "the manifest has lifecycle hooks, which would run on this machine", "allow them with --allow-exec"
        )


def parse_call(text: str, headers: tuple[tuple[str, str], ...], body: str | None) -> Call:
    """``GET /hello`` or ``/hello`` to a call.

    Raises:
        BadInput: it is neither.
    """
    method, _, path = text.strip().rpartition(" ")
    method = (method or "GET").strip().upper()
    if not path.startswith("/") or not method.isalpha():
        raise BadInput(f"--request {text!r} is not a request", 'write it as --request "GET /hello"')
    return Call(method, path, headers, body)


def require_route(target: Target, method: str, path: str, flag: str) -> None:
    """Check that the app has such a route.

    Raises:
        BadInput: it has not; the hint names near ones.
    """
    if not target.routes or target.has(method, path):
        return
    known = [f"{m} {p}" for m, p in target.routes]
    near = difflib.get_close_matches(f"{method} {path}", known, n=3, cutoff=0.4) or known[:5]
    raise BadInput(f"{target.app} has no route {method} {path} ({flag})", f"did you mean {' or '.join(near)}?")


def conclude(question: Question, seen: dict[str, Trial], settings: tuple[tuple[str, str], ...]) -> Experiment:
    """Trials to the table, the verdict and the story of each."""
    trials = tuple(
        replace(seen[key], arm=name, index=n, story=measure.story(seen[key].timeline, question.pod.probes))
        for key, name, n in question.keys
        if key in seen
    )
    arms = tuple(Arm(name, target.app) for name, target in question.arms)
    grouped = [[t for t in trials if t.arm == arm.name] for arm in arms]
    verdict = _alone(grouped[0]) if len(arms) == 1 else _compared(grouped[0], grouped[1])
    title = question.arms[0][1].app + (" before and after" if len(arms) == 2 else " under its probes")
    return Experiment("app", title, arms, trials, measure.comparison(grouped), verdict, question.pod.probes, settings)


def _alone(trials: Sequence[Trial]) -> Verdict:
    quiet = [t for t in trials if t.timeline.restarts == 0 and t.timeline.missed_probes == 0]
    missed = sum(t.timeline.missed_probes for t in trials)
    restarts = sum(t.timeline.restarts for t in trials)
    holds = bool(trials) and len(quiet) == len(trials)
    sentence = (
        "Under this load no probe is missed and the pod is not restarted."
        if holds
        else f"Under this load {units.plural(missed, 'probe is', 'probes are')} missed and the pod is restarted "
        f"{units.plural(restarts, 'time')}."
    )
    return Verdict(holds, sentence, len(quiet), len(trials))


def _compared(before: Sequence[Trial], after: Sequence[Trial]) -> Verdict:
    """The first figure that is bad before the change decides what is claimed of it."""
    pairs = list(zip(before, after, strict=False))
    for name, figure, floor in _CLAIMS:
        values = [(figure(b), figure(a)) for b, a in pairs]
        if not values or statistics.median(b for b, _ in values) <= floor:
            continue
        better = sum(a < b for b, a in values)
        gone = all(a == 0 for _, a in values)
        holds = better == len(values) and statistics.median(a for _, a in values) < 0.9 * statistics.median(
            b for b, _ in values
        )
        what = f"The change {'removes' if gone else 'reduces'} the {name}"
        sentence = what + "." if holds else f"The change does not reduce the {name}."
        return Verdict(holds, sentence, better, len(values))
    return Verdict(False, "Neither arm misses a probe, restarts or stalls: there is nothing to compare.", 0, len(pairs))


_CLAIMS = (
    ("restarts", lambda t: float(t.timeline.restarts), 0.0),
    ("missed probes", lambda t: float(t.timeline.missed_probes), 0.0),
    ("stalls", lambda t: t.timeline.longest_stall_s, 0.1),
    ("p99 latency", lambda t: measure.percentile(measure.latencies(t.timeline.requests), 0.99) or 0.0, 0.0),
)
