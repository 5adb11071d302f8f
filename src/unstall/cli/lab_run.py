"""Drives a lab run from the command line: what is announced, the live line, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from unstall import units
from unstall.cli.screen import console
from unstall.errors import BadInput
from unstall.kubelet.spec import PodSpec
from unstall.lab import builtin, experiment, own
from unstall.lab.fixed import fixed_copy
from unstall.lab.load import Call, LoadPlan
from unstall.lab.predict import with_predictions
from unstall.lab.target import Target, health_route, inspect, locate, same_app_in
from unstall.lab.trial import TrialRun
from unstall.model import Exec, Experiment, Grpc, HttpGet, LabReport, ProbeSpec, ProbeType, TcpSocket, Trial

T = TypeVar("T")
Work = Callable[[experiment.Session], Awaitable[None]]
DEFAULT_RATE = 10.0
DEFAULT_PAIRS = 3


def run_builtin(quick: bool, began_at: float) -> LabReport:
    """Run experiments 1, 1b, 2 and 3 side by side."""
    screen = console()
    scale = builtin.QUICK if quick else builtin.FULL
    screen.print(
        f"Experiments 1, 1b, 2 and 3: about {units.seconds(scale.expected_s)}. Every app has a port of its own."
    )
    plans = builtin.plans(scale)
    names = {key: f"experiment {key.replace(' ', ', ', 1)}" for key in plans}
    seen, interrupted = drive(lambda session: session.side_by_side(plans), screen, names, scale.expected_s)
    found = tuple(
        with_predictions(concluded, dict.fromkeys((arm.name for arm in concluded.arms), builtin.APPS))
        for concluded in (one.conclude(seen) for one in builtin.experiments(scale) if set(one.keys) <= set(seen))
    )
    return experiment.report(found, experiment.command_line(), began_at, interrupted)


def run_own(app: str, began_at: float, **asked: Any) -> LabReport:
    """Run the user's app, alone or against another version."""
    screen = console()
    with contextlib.ExitStack() as stack:
        question, manifest, diff = ask(app, stack, **asked)
        settings = announce(question, manifest, diff, screen)

        async def work(session: experiment.Session) -> None:
            for key, _, _ in question.keys:
                await session.one(key, question.plan(key))

        names = {key: key if len(question.keys) > 1 else name for key, name, _ in question.keys}
        seen, interrupted = drive(work, screen, names, question.expected_s)
        found: tuple[Experiment, ...] = ()
        if seen:
            folders = {name: target.folder for name, target in question.arms}
            concluded = own.conclude(question, seen, settings)
            arms = tuple(replace(arm, about=_about(arm.name, folders[arm.name], diff)) for arm in concluded.arms)
            found = (with_predictions(replace(concluded, arms=arms, diff=diff), folders),)
    return experiment.report(found, experiment.command_line(), began_at, interrupted)


def _about(arm: str, folder: Path, diff: str) -> str:
    return "a copy with every safe fix" if diff and arm == "after" else f"in {_shown(folder)}"


def drive(work: Work, screen: Console, names: dict[str, str], expected_s: float) -> tuple[dict[str, Trial], bool]:
    """Run the work with a live line; on Ctrl-C or SIGTERM stop everything and return what was seen so far."""
    with progress(screen, names, expected_s) as said, experiment.session(said) as session:
        interrupted = False
        try:
            _run_until_told(work(session))
        except KeyboardInterrupt:
            interrupted = True
        return session.seen(), interrupted


def _run_until_told(work: Awaitable[T]) -> T:
    """Run the work; on Ctrl-C or SIGTERM cancel it, let it clean up, then raise ``KeyboardInterrupt``.

    An exception that a signal's handler raises can fall between the fork of a child and the moment its parent knows
    it, and the child is lost; a cancellation arrives only where the work waits.
    """

    async def until_told() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def progress(screen: Console, names: dict[str, str], expected_s: float) -> Iterator[experiment.Said]:
    """One live line on a terminal; elsewhere one line as each trial ends."""
    ended = 0

    def line(run: TrialRun) -> str:
        seen = run.timeline()
        restarts, missed = units.plural(seen.restarts, "restart"), units.plural(seen.missed_probes, "missed probe")
        probed = f"{restarts}, {missed}, " if run.plan.pod.probes else ""
        stall = units.seconds(seen.longest_stall_s) if seen.stalls else "none"
        return f"{probed}{units.plural(len(seen.requests), 'request')}, longest stall {stall}"

    if not screen.is_terminal:

        def said(what: str, run: TrialRun) -> None:
            nonlocal ended
            if what == "ended":
                ended += 1
                key = next(k for k, name in names.items() if _belongs(k, run))
                screen.print(f"  trial {ended}/{len(names)}  {names[key]:<18}  {line(run)}")

        yield said
        return
    bar = Progress(
        TextColumn("  {task.description}"), BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.fields[seen]}"),
        console=screen, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("starting", total=expected_s, seen="")
        began_at = time.monotonic()

        def said_live(what: str, run: TrialRun) -> None:
            nonlocal ended
            ended += what == "ended"
            text = line(run) if what == "ended" else ""
            bar.update(
                task, description=f"trial {ended}/{len(names)}", seen=text, completed=time.monotonic() - began_at
            )

        yield said_live


def _belongs(key: str, run: TrialRun) -> bool:
    return run.folder.name == key.replace(" ", "-")


def ask(app: str, stack: contextlib.ExitStack, **asked: Any) -> tuple[own.Question, str, str]:
    """Turn the flags into a question, looking at the app and the manifest.

    Returns where the probes stand too, and the diff of ``--fix``; its copy of the project lives as long as ``stack``.

    Raises:
        UnstallError: what was given cannot be used.
    """
    here = Path.cwd()
    arguments = tuple(shlex.split(asked["server_args"]))
    for flag in ("--host", "--port", "--uds", "--fd"):
        if any(one == flag or one.startswith(flag + "=") for one in arguments):
            raise BadInput(f"--server-args cannot set {flag}: the lab does", "use --port for the port")
    factory = "--factory" in arguments
    first = locate(app, here)
    diff = ""
    if asked["against"] and asked["fix"]:
        raise BadInput("--against and --fix exclude each other", "leave one out")
    named = [("before" if asked["against"] or asked["fix"] else "app", first)]
    if asked["against"]:
        named.append(("after", same_app_in(asked["against"], first, here)))
    elif asked["fix"]:
        after, diff = stack.enter_context(fixed_copy(first))
        named.append(("after", after))

    async def look() -> list[tuple[str, Target]]:
        return [(name, await inspect(target, (), factory)) for name, target in named]

    arms = _run_until_told(look())
    pod, where = _pod(arms[0][1], **asked)
    own.require_allowed(pod, asked["allow_exec"], asked["allow_remote"])
    question = own.Question(
        arms=tuple(arms),
        pod=pod,
        load=_load(arms, **asked),
        trials=asked["trials"] or (DEFAULT_PAIRS if len(arms) == 2 else 1),
        port=asked["port"],
        start_limit_s=asked["start_limit"],
        server_arguments=arguments,
    )
    own.on_port(pod, 1)
    return question, where, diff


def _pod(target: Target, **asked: Any) -> tuple[PodSpec, str]:
    if asked["manifest"] is not None:
        from unstall.kubelet.manifests import pod_spec

        pod = pod_spec(asked["manifest"], asked["container"])
        return pod, f"{asked['manifest']}:{pod.line}"
    path = asked["liveness"] and own.parse_call(asked["liveness"], (), None).path
    if path:
        own.require_route(target, "GET", path, "--liveness")
    path = path or health_route(target)
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(8000, path), asked["period"], asked["timeout"], asked["failures"])
    return PodSpec(probes=(probe,)), "--liveness" if asked["liveness"] else "found in the app's routes"


def _load(arms: list[tuple[str, Target]], **asked: Any) -> LoadPlan:
    headers = tuple(_header(text) for text in asked["headers"])
    body = None
    if asked["body"] is not None:
        try:
            body = asked["body"].read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"--body {asked['body']} cannot be read: {error.strerror}") from None
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers += (("Content-Type", "application/json"),)
    calls = [own.parse_call(text, headers, body) for text in asked["requests"]]
    for call in calls:
        for _, target in arms:
            own.require_route(target, call.method, call.path, "--request")
    calls = calls or [Call(m, p, headers, None) for m, p in arms[0][1].callable_routes]
    if not calls:
        raise BadInput(
            f"{arms[0][1].app} has no GET route without parameters", 'say what to call: --request "POST /path"'
        )
    chosen = [name for name in ("rate", "concurrency", "burst") if asked[name]]
    if len(chosen) > 1:
        raise BadInput(f"--{chosen[0]} and --{chosen[1]} exclude each other", "leave one out")
    return LoadPlan(
        url="",
        calls=tuple(calls),
        burst=asked["burst"] or 0,
        rate=0.0 if asked["burst"] or asked["concurrency"] else asked["rate"] or DEFAULT_RATE,
        concurrency=asked["concurrency"] or 0,
        duration_s=asked["duration"],
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise BadInput(f"--header {text!r} is not a header", 'write it as --header "Name: value"')
    return name.strip(), value.strip()


def announce(question: own.Question, where: str, diff: str, screen: Console) -> tuple[tuple[str, str], ...]:
    """Print what will be called and probed before anything is; the same lines are the result's settings."""
    load = question.load
    if load.burst:
        how = f"{load.burst} of each at once"
    elif load.concurrency:
        how = f"{load.concurrency} clients, each waiting for its answer"
    else:
        how = f"{load.rate:g} requests/s, open loop, seed {load.seed}"
    routes = ", ".join(dict.fromkeys(call.route for call in load.calls))
    settings = [
        *(
            (name, f"{target.app} in {_shown(target.folder)}")
            for name, target in question.arms
            if not (diff and name == "after")
        ),
        *([("after", "a copy of it with every safe fix; the diff is in the report")] if diff else []),
        ("requests", routes),
        ("load", f"{units.seconds(load.duration_s)}, {how}"),
        *((str(p.type), probe_text(p) + f" ({where})") for p in question.pod.probes),
        ("grace", f"{question.pod.grace_s} s, restartPolicy {question.pod.restart_policy}"),
        ("trials", f"{question.trials} of each arm, alternating" if len(question.arms) > 1 else f"{question.trials}"),
        ("server", " ".join(("uvicorn", *question.server_arguments))),
    ]
    width = max(len(label) for label, _ in settings)
    for label, text in settings:
        screen.print(f"  {label:<{width}}  {text}")
    screen.print(f"  {'takes':<{width}}  about {units.seconds(question.expected_s)}")
    return tuple(settings)


def _shown(folder: Path) -> str:
    with contextlib.suppress(ValueError):
        return f"./{folder.relative_to(Path.cwd())}" if folder != Path.cwd() else "."
    return str(folder)


def probe_text(probe: ProbeSpec) -> str:
    """A probe in a few words: ``GET /health every 10 s, 1 s timeout, 3 failures``."""
    match probe.handler:
        case HttpGet() as handler:
            what = f"GET {handler.path}" + (" over HTTPS" if handler.scheme == "HTTPS" else "")
        case TcpSocket():
            what = "a TCP connection"
        case Exec() as handler:
            what = "runs " + " ".join(handler.command)
        case Grpc():
            what = "gRPC health check"
    delay = f", first after {probe.initial_delay_s} s" if probe.initial_delay_s else ""
    times = f"every {probe.period_s} s, {probe.timeout_s} s timeout, {units.plural(probe.failure_threshold, 'failure')}"
    return f"{what} {times}{delay}"
