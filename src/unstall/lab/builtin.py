"""The built-in experiments 1, 1b, 2 and 3: what a blocking call does, and what it does under a liveness probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unstall import units
from unstall.kubelet import odds
from unstall.kubelet.spec import PodSpec
from unstall.lab import measure
from unstall.lab.load import Call, LoadPlan
from unstall.lab.serve import Server, free_port
from unstall.lab.trial import TrialPlan
from unstall.model import Arm, Experiment, HttpGet, Measure, ProbeSpec, ProbeType, TableRow, Trial, Verdict

APPS = Path(__file__).parent / "apps"
HELLO, HEALTH = "GET /hello", "GET /health"
CLIENTS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """How long things take: the delay of experiments 1 to 2, the longer one of 1 and 3, the probe of 3."""

    short_s: float
    long_s: float
    period_s: int
    timeout_s: int = 1
    failures: int = 3

    @property
    def observed_s(self) -> float:
        """How long experiment 3 watches a pod: its whole block."""
        return CLIENTS * self.long_s

    @property
    def expected_s(self) -> float:
        """How long the run takes: starting, the longest trial, stopping."""
        return self.observed_s + 15.0


FULL = Scale(short_s=3.0, long_s=5.0, period_s=5)
QUICK = Scale(short_s=0.5, long_s=1.0, period_s=1)


@dataclass(frozen=True, slots=True)
class Built:
    """One experiment before it is run: its trials by key, and how their timelines become an `Experiment`."""

    keys: tuple[str, ...]
    conclude: Callable[[dict[str, Trial]], Experiment]


def plans(scale: Scale) -> dict[str, TrialPlan]:
    """All trials of the default run; they run side by side. Experiment 2 reads two of experiment 1 again."""
    b_port = free_port()
    hello = f"http://127.0.0.1:{b_port}/hello"
    asked = CLIENTS * scale.short_s
    made = {
        "1 A": _plan("blocking", scale.short_s),
        "1 A long": _plan("blocking", scale.long_s),
        "1 B": _plan("awaited", scale.short_s),
        "1 C": _plan("threaded", scale.short_s),
        "1b A": _plan("upstream", scale.short_s, ("UPSTREAM_URL", hello)),
        "1b B": _only_watched(_plan("awaited", scale.short_s, port=b_port), asked),
    }
    for key, app in (("3 A", "blocking"), ("3 B", "awaited")):
        plan = _plan(app, scale.long_s)
        assert plan.load is not None
        made[key] = replace(
            plan,
            pod=replace(plan.pod, probes=(startup(plan.server.port), liveness(scale, plan.server.port))),
            load=replace(plan.load, watch=None),
            lasts_s=scale.observed_s,
        )
    return {key: replace(plan, arm=key, seed=number, from_load=True) for number, (key, plan) in enumerate(made.items())}


def liveness(scale: Scale, port: int) -> ProbeSpec:
    """The liveness probe of experiment 3."""
    return ProbeSpec(ProbeType.LIVENESS, HttpGet(port, "/health"), scale.period_s, scale.timeout_s, scale.failures)


def startup(port: int) -> ProbeSpec:
    """A startup probe with patience, so that a slow machine does not get a pod killed before it serves."""
    return ProbeSpec(ProbeType.STARTUP, HttpGet(port, "/health"), 1, 1, 60)


def _plan(app: str, delay_s: float, *environment: tuple[str, str], port: int | None = None) -> TrialPlan:
    port = port or free_port()
    server = Server(f"{app}:app", APPS, port, ("--no-access-log",), (("HELLO_SECONDS", f"{delay_s:g}"), *environment))
    load = LoadPlan(
        url=f"http://127.0.0.1:{port}",
        calls=(Call("GET", "/hello"),),
        burst=CLIENTS,
        begin_s=1.0,
        watch=Call("GET", "/health"),
        watch_every_s=0.25,
    )
    return TrialPlan("", server, PodSpec(pod=app), load)


def _only_watched(plan: TrialPlan, duration_s: float) -> TrialPlan:
    assert plan.load is not None
    return replace(plan, load=replace(plan.load, calls=(), burst=0, duration_s=duration_s + 1.0))


def experiments(scale: Scale) -> tuple[Built, ...]:
    """The four experiments in order."""
    return (
        Built(("1 A", "1 A long", "1 B", "1 C"), lambda seen: _blocking(scale, seen)),
        Built(("1b A", "1b B"), lambda seen: _upstream(scale, seen)),
        Built(("1 A", "1 B"), lambda seen: _awaited(scale, seen)),
        Built(("3 A", "3 B"), lambda seen: _probed(scale, seen)),
    )


def _named(trial: Trial, name: str, probes: Sequence[ProbeSpec] = ()) -> Trial:
    return replace(trial, arm=name, story=measure.story(trial.timeline, probes))


def _total(trial: Trial) -> float:
    return measure.total_s(measure.of_route(trial.timeline, HELLO)) or 0.0


def _rows(trials: Sequence[Trial]) -> tuple[TableRow, ...]:
    def row(label: str, figure: Callable[[Trial], float | None]) -> TableRow:
        return TableRow(label, tuple(Measure(figure(trial), "s") for trial in trials))

    def hello(share: float) -> Callable[[Trial], float | None]:
        return lambda t: measure.percentile(measure.latencies(measure.of_route(t.timeline, HELLO)), share)

    return (
        row(f"{CLIENTS} requests, first to last", _total),
        row("p50 latency", hello(0.5)),
        row("p99 latency", hello(0.99)),
        row("/health before", lambda t: measure.idle_latency(t.timeline, HEALTH, HELLO)),
        row("/health meanwhile", lambda t: measure.watched_latency(t.timeline, HEALTH, HELLO)),
        row("longest stall", lambda t: t.timeline.longest_stall_s),
    )


def _blocking(scale: Scale, seen: dict[str, Trial]) -> Experiment:
    short, long = f"{scale.short_s:g} s", f"{scale.long_s:g} s"
    arms = (
        Arm(f"A {short}", "blocking:app", f"async def that calls time.sleep({scale.short_s:g})"),
        Arm(f"A {long}", "blocking:app", f"the same with {long}"),
        Arm(f"B {short}", "awaited:app", f"await asyncio.sleep({scale.short_s:g})"),
        Arm(f"C {short}", "threaded:app", f"time.sleep({scale.short_s:g}) behind a plain def endpoint"),
    )
    trials = tuple(
        _named(seen[key], arm.name) for key, arm in zip(("1 A", "1 A long", "1 B", "1 C"), arms, strict=True)
    )
    a, a_long, b, c = (_total(trial) for trial in trials)
    holds = a >= 4.9 * scale.short_s and a_long >= 4.9 * scale.long_s and max(b, c) < 2 * scale.short_s
    sentence = (
        f"A answers {CLIENTS} clients one after another: {units.seconds(a)} where one request takes {short}; "
        f"awaited (B) or in a thread (C) all are answered within {units.seconds(max(b, c))}."
    )
    return Experiment(
        "1", "A blocking call makes everybody wait", arms, trials, _rows(trials), Verdict(holds, sentence, int(holds), 1),
        settings=_settings(f"{CLIENTS} requests GET /hello at once; GET /health every 0.25 s meanwhile"),
    )  # fmt: skip


def _upstream(scale: Scale, seen: dict[str, Trial]) -> Experiment:
    arms = (
        Arm("A", "upstream:app", "async def that calls service B with the synchronous requests"),
        Arm("client", "", f"{CLIENTS} requests to A at once"),
        Arm("B", "awaited:app", f"the slow service: await asyncio.sleep({scale.short_s:g})"),
    )
    a, b = _named(seen["1b A"], "A"), _named(seen["1b B"], "B")
    waited = measure.watched_latency(a.timeline, HEALTH, HELLO)
    idle = measure.percentile(measure.latencies(measure.of_route(b.timeline, HEALTH)), 0.5)
    total, none = _total(a), Measure(None, "s")
    p50 = measure.percentile(measure.latencies(measure.of_route(a.timeline, HELLO)), 0.5)
    before = measure.idle_latency(a.timeline, HEALTH, HELLO)
    table = (
        TableRow(f"{CLIENTS} requests, first to last", (none, Measure(total, "s"), none)),
        TableRow("p50 latency", (none, Measure(p50, "s"), none)),
        TableRow("/health before", (Measure(before, "s"), none, Measure(idle, "s"))),
        TableRow("/health meanwhile", (Measure(waited, "s"), none, Measure(idle, "s"))),
        TableRow(
            "longest stall", (Measure(a.timeline.longest_stall_s, "s"), none, Measure(b.timeline.longest_stall_s, "s"))
        ),
    )
    holds = total >= 4.9 * scale.short_s and b.timeline.longest_stall_s < scale.short_s / 2
    longest_s = b.timeline.longest_stall_s
    held = f"never held for longer than {units.seconds(longest_s)}" if longest_s else "never blocked"
    sentence = (
        f"The synchronous HTTP client makes A serve one request at a time: the client waits {units.seconds(total)}, "
        f"while B's own loop was {held}."
    )
    return Experiment(
        "1b", "The usual real cause: a synchronous HTTP client", arms, (a, b), table, Verdict(holds, sentence, int(holds), 1),
        settings=_settings(f"{CLIENTS} requests GET /hello at once to A, which asks B; GET /health of both every 0.25 s"),
    )  # fmt: skip


def _awaited(scale: Scale, seen: dict[str, Trial]) -> Experiment:
    arms = (
        Arm("A", "blocking:app", f"async def that calls time.sleep({scale.short_s:g})"),
        Arm("B", "awaited:app", f"the endpoint awaits a helper that awaits asyncio.sleep({scale.short_s:g})"),
    )
    trials = (_named(seen["1 A"], "A"), _named(seen["1 B"], "B"))
    a, b = (_total(trial) for trial in trials)
    holds = b <= scale.short_s + 0.4 and a >= 4.9 * scale.short_s
    sentence = f"Awaiting the same delay answers all {CLIENTS} in {units.seconds(b)} in place of {units.seconds(a)}."
    return Experiment(
        "2", "The fix: await it", arms, trials, _rows(trials), Verdict(holds, sentence, int(holds), 1),
        settings=_settings(f"{CLIENTS} requests GET /hello at once"), notes=("The runs of experiment 1, A and B.",),
    )  # fmt: skip


def _probed(scale: Scale, seen: dict[str, Trial]) -> Experiment:
    arms = (
        Arm("A", "blocking:app", f"async def that calls time.sleep({scale.long_s:g})"),
        Arm("B", "awaited:app", f"await asyncio.sleep({scale.long_s:g})"),
    )
    probe = liveness(scale, 8000)
    trials = (_named(seen["3 A"], "A", (probe,)), _named(seen["3 B"], "B", (probe,)))
    a, b = (trial.timeline for trial in trials)
    blocks = (CLIENTS * scale.long_s, 0.0)
    pod = PodSpec(probes=(probe,))
    expected = [odds.restart_probability(pod, block_s) for block_s in blocks]
    table = (
        TableRow("restarts", (Measure(a.restarts, "count"), Measure(b.restarts, "count"))),
        TableRow("missed probes", (Measure(a.missed_probes, "count"), Measure(b.missed_probes, "count"))),
        TableRow("chance of a restart, by formula", tuple(Measure(p, "probability") for p in expected)),
        TableRow("restarted, as observed", tuple(Measure(float(t.restarts > 0), "of", 1) for t in (a, b))),
        TableRow(f"{CLIENTS} requests, first to last", tuple(Measure(_total(t), "s") for t in trials)),
        TableRow("failed requests", tuple(_failed(t) for t in trials)),
        TableRow("time not ready", tuple(Measure(measure.not_ready_s(t), "s") for t in (a, b))),
        TableRow("longest stall", tuple(Measure(t.longest_stall_s, "s") for t in (a, b))),
    )
    holds = a.restarts > 0 and b.restarts == 0
    sentence = (
        f"Under the liveness probe A's pod is restarted ({units.plural(a.restarts, 'restart')}) "
        f"and B's is not ({units.plural(b.restarts, 'restart')})."
    )
    return Experiment(
        "3", "Under a liveness probe the busy pod is restarted", arms, trials, table, Verdict(holds, sentence, int(holds), 1),
        probes=(startup(8000), probe),
        settings=_settings(
            f"{CLIENTS} requests GET /hello at once",
            ("liveness", f"GET /health every {probe.period_s} s, {probe.timeout_s} s timeout, {probe.failure_threshold} failures"),
        ),
    )  # fmt: skip


def _failed(trial: Trial) -> Measure:
    requests = trial.timeline.requests
    return Measure(float(sum(r.failed for r in requests)), "of", float(len(requests)))


def _settings(load: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("load", load), *more, ("server", "uvicorn, one worker"))
