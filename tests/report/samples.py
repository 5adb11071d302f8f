"""Results as the lab would write them, from a small model of one event loop; and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path

from unstall.model import (
    Arm,
    CallChain,
    Cause,
    Entrance,
    Experiment,
    Finding,
    Frame,
    HttpGet,
    LabReport,
    Measure,
    Phase,
    PodEvent,
    PodTimeline,
    Primitive,
    ProbeRecord,
    ProbeSpec,
    ProbeType,
    Request,
    Site,
    Stall,
    Step,
    StoryLine,
    TableRow,
    Trial,
    Verdict,
)
from unstall.records import read_report

SOURCE = (
    '@app.get("/hello")',
    "async def hello() -> dict[str, str]:",
    '    """Answer late, and keep the whole event loop waiting."""',
    "    time.sleep(HELLO_SECONDS)",
    '    return {"hello": "world"}',
    "",
)
SITE = Site("blocking.py", 16, qualname="hello")
SLEEP = Primitive("time.sleep", "UNS101", "sleeps in the kernel", "L", True, "asyncio.sleep", "await")
LIVENESS = ProbeSpec(ProbeType.LIVENESS, HttpGet(8000, "/health"), 5, 1, 3)
DIFF = """--- blocking.py
+++ blocking.py
@@ hello: the sleep has an awaitable of the same name @@
 async def hello() -> dict[str, str]:
-    time.sleep(HELLO_SECONDS)
+    await asyncio.sleep(HELLO_SECONDS)
     return {"hello": "world"}
"""


def stall(started_at: float, duration_s: float, route: str = "GET /hello", **more: object) -> Stall:
    """A stall of the built-in app."""
    made = Stall(
        started_at,
        duration_s,
        site=SITE,
        stack=(Frame("blocking.py", 16, "hello", True), Frame("starlette/routing.py", 73, "app")),
        route=route,
        rule="UNS101",
        cause=Cause(cpu_s=0.001, syscall_s=duration_s - 0.002),
        source=SOURCE,
        source_line=13,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def finding() -> Finding:
    """What check says about the same line."""
    chain = CallChain(
        Entrance("endpoint", "GET /hello", Site("blocking.py", 14, qualname="hello")),
        (Step(Site("blocking.py", 16, 5, "hello"), "time.sleep"),),
        SLEEP,
    )
    return Finding("UNS101", "error", replace(SITE, path="app/blocking.py"), SLEEP, (chain,), "UNS101:hello:sleep")


def blocked(delay_s: float, clients: int = 5, begin_s: float = 1.0, health_s: float = 0.25) -> PodTimeline:
    """App A: every handler holds the loop, one after another; /health waits behind them."""
    stalls = tuple(stall(begin_s + i * delay_s, delay_s - 0.002) for i in range(clients))
    free_at = begin_s + clients * delay_s
    duration_s = free_at + 1.0
    hello = [Request("GET /hello", begin_s - 0.002, begin_s, begin_s + (i + 1) * delay_s, 200) for i in range(clients)]
    health = []
    for i in range(int(duration_s / health_s) if health_s else 0):
        due = i * health_s
        waits = begin_s <= due < free_at
        health.append(Request("GET /health", due, due, free_at + 0.02 if waits else due + 0.006, 200))
    return PodTimeline(
        duration_s,
        (Phase("starting", 0, 0.5), Phase("running", 0.5, duration_s)),
        stalls=stalls,
        requests=tuple(sorted(hello + health, key=lambda r: r.due_at)),
        unready=((0.0, 0.5),),
    )


def awaited(delay_s: float, clients: int = 5, begin_s: float = 1.0, lasts_s: float = 0.0) -> PodTimeline:
    """App B: all are answered together, /health at once."""
    duration_s = max(begin_s + delay_s + 1.0, lasts_s)
    hello = [
        Request("GET /hello", begin_s, begin_s + 0.001, begin_s + delay_s + 0.02 + i / 500, 200) for i in range(clients)
    ]
    health = [Request("GET /health", i / 4, i / 4, i / 4 + 0.007, 200) for i in range(int(duration_s * 4))]
    return PodTimeline(
        duration_s,
        (Phase("starting", 0, 0.5), Phase("running", 0.5, duration_s)),
        requests=tuple(sorted(hello + health, key=lambda r: r.due_at)),
        unready=((0.0, 0.5),),
    )


def probed_blocked(delay_s: float = 5.0, phase_s: float = 2.0) -> PodTimeline:
    """App A of experiment 3: three liveness probes in a row are missed and the container is restarted."""
    base = blocked(delay_s, health_s=0)
    liveness, times = ProbeType.LIVENESS, [phase_s + 5.0 * i - 5 for i in range(12)]
    probes, failures, killed_at = [], 0, None
    for at in times:
        if at < 0.6:
            continue
        if killed_at is None and 1.0 <= at < 26.0:
            failures += 1
            probes.append(ProbeRecord(liveness, at, at + 1.0, "failure", "context deadline exceeded", failures))
            if failures == 3:
                killed_at = at + 1.0
        elif killed_at is None or at > 27.5:
            probes.append(ProbeRecord(liveness, at, at + 0.004, "success", "", 1, int(killed_at is not None)))
    assert killed_at is not None
    gone_at = 16.0  # the running handler ends, then the process
    back_at = gone_at + 0.9
    kept = tuple(
        r if r.answered_at <= gone_at + 0.1 else replace(r, answered_at=gone_at, status=None, error="connection closed")
        for r in base.requests
    )
    stalls = tuple(s for s in base.stalls if s.started_at < gone_at - 0.5)
    told = "Container app failed liveness probe, will be restarted"
    return PodTimeline(
        30.0,
        (
            Phase("starting", 0, 0.5),
            Phase("running", 0.5, killed_at),
            Phase("terminating", killed_at, gone_at),
            Phase("starting", gone_at + 0.1, back_at, 1),
            Phase("running", back_at, 30.0, 1),
        ),
        tuple(p for p in probes if p.started_at < killed_at or p.started_at > 17),
        stalls,
        kept,
        (
            PodEvent(killed_at, "Killing", told),
            PodEvent(gone_at, "Exited", "exit code 0", source="container"),
            PodEvent(back_at, "Started", "ready again", source="container"),
        ),
        ((0.0, 0.5), (killed_at, back_at)),
    )  # fmt: skip


def probed_awaited(delay_s: float = 5.0) -> PodTimeline:
    """App B of experiment 3: every probe is answered."""
    base = awaited(delay_s, lasts_s=30.0)
    probes = tuple(
        ProbeRecord(ProbeType.LIVENESS, t, t + 0.004, "success", "", i + 1) for i, t in enumerate(range(2, 30, 5))
    )
    return replace(base, probes=probes, requests=tuple(r for r in base.requests if r.route == "GET /hello"))


def story_of(timeline: PodTimeline) -> tuple[StoryLine, ...]:
    """The lines the lab would tell."""
    lines = [
        StoryLine(s.started_at, s.route or "", f"blocks the loop for {s.duration_s:.2f} s", "blocking.py:16 hello")
        for s in timeline.stalls
    ]
    lines += [
        StoryLine(p.ended_at, f"{p.type} probe", "no answer in time", f"{p.run} in a row")
        for p in timeline.probes
        if p.outcome == "failure"
    ]
    lines += [StoryLine(e.at, e.source, e.message) for e in timeline.events]
    return tuple(sorted(lines, key=lambda line: line.at))


def experiment(
    name: str, title: str, arms: Sequence[tuple[str, str, Sequence[PodTimeline]]], verdict: Verdict, **more: object
) -> Experiment:
    """An experiment of (arm, about, timelines), with a table of three plain figures."""
    trials = tuple(
        Trial(arm, i, timeline, story_of(timeline))
        for arm, _, timelines in arms
        for i, timeline in enumerate(timelines, start=1)
    )
    firsts = [timelines[0] for _, _, timelines in arms]
    table = (
        TableRow("restarts", tuple(Measure(float(t.restarts), "count") for t in firsts)),
        TableRow("missed probes", tuple(Measure(float(t.missed_probes), "count") for t in firsts)),
        TableRow("longest stall", tuple(Measure(t.longest_stall_s, "s") for t in firsts)),
        TableRow(
            "failed requests",
            tuple(Measure(float(sum(r.failed for r in t.requests)), "of", float(len(t.requests))) for t in firsts),
        ),
    )
    made = Experiment(
        name,
        title,
        tuple(Arm(arm, f"{arm.lower()}:app", about) for arm, about, _ in arms),
        trials,
        table,
        verdict,
        settings=(("load", "5 requests GET /hello at once; GET /health every 0.25 s meanwhile"),),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def experiment_1() -> Experiment:
    """A, the longer A, B and C."""
    arms = [
        ("A 3 s", "async def that calls time.sleep(3)", [blocked(3.0)]),
        ("A 5 s", "the same with 5 s", [blocked(5.0)]),
        ("B 3 s", "await asyncio.sleep(3)", [awaited(3.0)]),
        ("C 3 s", "time.sleep(3) behind a plain def endpoint", [awaited(3.0)]),
    ]
    said = "A answers 5 clients one after another: 15.0 s where one request takes 3 s."
    return experiment("1", "A blocking call makes everybody wait", arms, Verdict(True, said), findings=(finding(),))


def experiment_1b() -> Experiment:
    """The synchronous HTTP client; the client's arm has no trial."""
    made = experiment(
        "1b",
        "The usual real cause: a synchronous HTTP client",
        [("A", "calls service B with requests", [blocked(3.0)]), ("B", "the slow service", [awaited(3.0, 0)])],
        Verdict(True, "The synchronous HTTP client makes A serve one request at a time."),
    )
    return replace(made, arms=(made.arms[0], Arm("client", "", "5 requests to A at once"), made.arms[1]), table=())


def experiment_2() -> Experiment:
    """The fix."""
    arms = [("A", "time.sleep(3)", [blocked(3.0)]), ("B", "await asyncio.sleep(3)", [awaited(3.0)])]
    said = "Awaiting the same delay answers all 5 in 3.02 s in place of 15.0 s."
    return experiment("2", "The fix: await it", arms, Verdict(True, said), diff=DIFF)


def experiment_3(trials: int = 1) -> Experiment:
    """Under a liveness probe."""
    arms = [
        ("A", "async def that calls time.sleep(5)", [probed_blocked(phase_s=1.5 + i / 2) for i in range(trials)]),
        ("B", "await asyncio.sleep(5)", [probed_awaited()] * trials),
    ]
    return experiment(
        "3",
        "Under a liveness probe the busy pod is restarted",
        arms,
        Verdict(True, "Under the liveness probe A's pod is restarted and B's is not.", trials, trials),
        probes=(LIVENESS,),
        findings=(finding(),),
        diff=DIFF,
    )


def report(*experiments: Experiment, **more: object) -> LabReport:
    """A result of some experiments."""
    made = LabReport(
        experiments,
        "0.1.0",
        "unstall lab",
        "2026-11-22T16:30:00Z",
        (
            ("Python", "3.11.9"),
            ("uvicorn", "0.54.0"),
            ("FastAPI", "0.165.0"),
            ("event loop", "uvloop 0.22.1"),
            ("processors", "2"),
        ),
        elapsed_s=44.2,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def default_run() -> LabReport:
    """As `unstall lab` without arguments: experiments 1, 1b, 2 and 3."""
    return report(experiment_1(), experiment_1b(), experiment_2(), experiment_3())


def real_run() -> LabReport:
    """What `unstall lab` really wrote on a machine of two busy cores: experiments 1, 1b, 2 and 3."""
    return read_report(Path(__file__).with_name("real-run.json"))


def busy(requests: int, duration_s: float = 60.0, seed: int = 7, restarts: bool = True) -> PodTimeline:
    """An open loop of many routes with stalls now and then, as a team's own app would show."""
    draw = random.Random(seed)
    stalls, at = [], 4.0
    while at < duration_s - 8:
        stalls.append(stall(at, draw.uniform(0.6, 6.4), "POST /invoices", cause=None))
        at = stalls[-1].started_at + stalls[-1].duration_s + draw.uniform(0.3, 6.0)
    sent = sorted(draw.uniform(0, duration_s - 0.5) for _ in range(requests))
    made = []
    for due in sent:
        behind = next((s for s in stalls if s.started_at <= due < s.started_at + s.duration_s), None)
        done = (behind.started_at + behind.duration_s if behind else due) + draw.expovariate(1 / 0.05)
        route = draw.choice(("GET /orders", "POST /orders", "GET /items/{id}"))
        made.append(Request(route, due, due, done, 200))
    probes = []
    for kind, offset in ((ProbeType.LIVENESS, 2.0), (ProbeType.READINESS, 2.7)):
        run = 0
        for i in range(int((duration_s - offset) / 3)):
            asked = offset + 3 * i
            held = any(s.started_at <= asked and asked + 1 < s.started_at + s.duration_s for s in stalls)
            run = run + 1 if held else 0
            probes.append(
                ProbeRecord(kind, asked, asked + (1.0 if held else 0.005), "failure" if held else "success", "", run)
            )
    phases: tuple[Phase, ...] = (Phase("running", 0, duration_s),)
    if restarts:
        down = stalls[-1].started_at + stalls[-1].duration_s
        made = [
            replace(r, status=None, error="connection refused") if down - 1 < r.answered_at < down + 3.4 else r
            for r in made
        ]
        phases = (
            Phase("running", 0, down),
            Phase("starting", down, down + 3.4, 1),
            Phase("running", down + 3.4, duration_s, 1),
        )
    return PodTimeline(duration_s, phases, tuple(probes), tuple(stalls), tuple(made))


def own_app(requests: int = 1000, trials: int = 1) -> LabReport:
    """`unstall lab app.api:app --against fixed`: two arms of a busy app."""
    before = [busy(requests, seed=7 + i) for i in range(trials)]
    after = [replace(awaited(0.05, 0, lasts_s=60.0), requests=_calm(requests, 60.0, i)) for i in range(trials)]
    arms = [("before", "./", before), ("after", "fixed/", after)]
    made = experiment(
        "own",
        "The change removes the restarts",
        arms,
        Verdict(True, "The change removes the restarts.", trials, trials),
    )
    rows = (
        *made.table,
        TableRow("p99 latency", (Measure(6.009, "s"), Measure(0.041, "s")), Measure(147, "ratio", None, 112, 170)),
    )
    return report(replace(made, table=rows), command="unstall lab app.api:app --against fixed --trials 5")


def _calm(requests: int, duration_s: float, seed: int) -> tuple[Request, ...]:
    draw = random.Random(100 + seed)
    due = sorted(draw.uniform(0, duration_s - 0.5) for _ in range(requests))
    return tuple(Request("GET /orders", d, d, d + draw.expovariate(1 / 0.04), 200) for d in due)


def day_of_restarts(restarts: int = 500, duration_s: float = 86400.0) -> PodTimeline:
    """24 hours of back-off: the container is killed again and again."""
    each = duration_s / (restarts + 1)
    phases, stalls, probes = [], [], []
    for i in range(restarts + 1):
        at = i * each
        phases += [
            Phase("starting", at, at + 1, i),
            Phase("running", at + 1, at + each * 0.5, i),
            Phase("terminating", at + each * 0.5, at + each * 0.6, i),
            Phase("waiting", at + each * 0.6, at + each, i),
        ]
        stalls.append(stall(at + each * 0.4, each * 0.1))
        probes.append(ProbeRecord(ProbeType.LIVENESS, at + each * 0.4, at + each * 0.4 + 1, "failure", "timeout", 1, i))
    requests = tuple(Request("GET /", t, t, t + 0.02, 200) for t in range(0, int(duration_s), 60))
    return PodTimeline(duration_s, tuple(phases), tuple(probes), tuple(stalls), requests)


def never_started() -> PodTimeline:
    """The container dies at each start."""
    phases, at = [], 0.0
    for i in range(5):
        phases += [Phase("starting", at, at + 0.4, i), Phase("waiting", at + 0.4, at + 0.4 + 10 * 2**i, i)]
        at += 0.4 + 10 * 2**i
    refused = tuple(
        Request("GET /", float(t), float(t), t + 0.001, None, "connection refused") for t in range(0, 300, 5)
    )
    startup = tuple(
        ProbeRecord(ProbeType.STARTUP, t, t + 0.01, "failure", "connection refused", 1) for t in (0.1, 10.5, 31.0)
    )
    return PodTimeline(at, tuple(phases), startup, (), refused, (), ((0.0, at),))


def hostile() -> LabReport:
    """Everything a result could hold that would break a careless page."""
    script = "<script>document.title='owned'</script>"
    long = "/" + "a" * 4999 + "/" + "b" * 4999
    site = Site(f"{long}.py", 3, qualname=f"f{script}")
    evil = PodTimeline(
        10.0,
        (Phase("running", 0, 10), Phase("running", nan, 3)),
        (ProbeRecord(ProbeType.LIVENESS, 2, 3, "failure", f"{script} \u202e\x00", 1),),
        (
            stall(1, 4, f"GET {script}", site=site, source=("x = 1", script, "</pre>"), source_line=2),
            stall(6, 1.5, f"GET {long}", site=None, stack=(), source=()),
            stall(nan, 1),
        ),
        (
            Request(f"GET {script}", 1, 1, 5, 200),
            Request(f"GET {long}", 1.5, 1.5, 5.1, 500, script),
            Request('GET /"onmouseover="alert(1)', 2, 2, nan, 200),
            Request("GET /\u202egnp.\x1b[31m", 3, 3, 7, 200),
        ),
        (PodEvent(4, "Killing", script), PodEvent(nan, "x", "y")),
    )
    arms = [
        (f"A {script}", script, [evil]),
        ("empty", "", [PodTimeline(5.0)]),
        ("no time", "", [PodTimeline(nan)]),
        ("never", "a pod that never starts", [never_started()]),
    ]
    made = experiment(f"{script}", f"T {script}", arms, Verdict(False, script))
    lines = (StoryLine(nan, script, long, script), StoryLine(1.0, "x" * 500, "", "&amp;"))
    trials = tuple(replace(trial, story=lines) for trial in made.trials)
    table = (
        TableRow(script, (Measure(nan, "s"), Measure(None, "s"), Measure(float("inf"), "count"), Measure(1, script)), Measure(-1, "ratio", None, nan, nan)),
    )  # fmt: skip
    bad = replace(
        made, trials=trials, table=table, diff=f"--- {script}\n+{script}\n", settings=((script, long),), notes=(script,)
    )
    return report(
        bad,
        replace(made, trials=(), table=()),
        command=f"unstall lab '{script}'",
        environment=((script, script),),
        interrupted=True,
    )
