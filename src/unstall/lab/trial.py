"""One run of one arm: a pod under probes, a client, and the timeline of what happened."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from unstall.errors import AppNotFound, BadInput
from unstall.kubelet.live import LivePod
from unstall.kubelet.prober import Target as ProbeTarget
from unstall.kubelet.prober import probe
from unstall.kubelet.spec import PodSpec
from unstall.lab.evidence import read_stalls
from unstall.lab.load import LoadPlan, plan_line, until
from unstall.lab.serve import Container, Server, is_open, last_words
from unstall.model import HttpGet, PodTimeline, ProbeType, Request

STOP_GRACE_S = 1.0
SETTLE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What one trial does. ``load`` None sends nothing: the service only waits for others.

    ``first_tick_s`` sets the phase: the first liveness probe after the load begins comes that much later.
    ``lasts_s`` is the least time that the pod is observed after the load began. ``from_load`` makes that
    the timeline's zero, so that waiting for other trials to start is not part of it.
    """

    arm: str
    server: Server
    pod: PodSpec
    load: LoadPlan | None = None
    lasts_s: float = 0.0
    first_tick_s: float | None = None
    from_load: bool = False
    seed: int = 7
    start_limit_s: float = 60.0


@dataclass(slots=True)
class TrialRun:
    """A trial under way: what was seen so far can be read at any moment, also after Ctrl-C."""

    plan: TrialPlan
    folder: Path
    pod: LivePod = field(init=False)
    requests: list[Request] = field(default_factory=list)
    load_at: float | None = None
    ended_at: float | None = None
    _running: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        server = replace(self.plan.server, record=self.folder / "record.jsonl", log=self.folder / "server.log")
        self.plan = replace(self.plan, server=server)
        draw = random.Random(self.plan.seed)
        self.pod = LivePod(
            self.plan.pod,
            lambda: Container.start(server),
            ProbeTarget(
                pod_ip="127.0.0.1", ports=self.plan.pod.ports, env=dict(self.plan.pod.env), directory=str(server.folder)
            ),
            random=draw.random,
        )

    @property
    def server(self) -> Server:
        """The server of this trial, with its record and log files."""
        return self.plan.server

    async def run(self, clients_ready: asyncio.Barrier | None = None) -> None:
        """Start, wait until the app answers, send the load, watch, stop. Nothing is left behind.

        Raises:
            AppNotFound: the app died at start or never opened its port.
            BadInput: its liveness path does not answer on an idle app.
        """
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(_client(self.plan.load)) if self.plan.load else None
            await stack.enter_async_context(self._pod())
            await self._until_open()
            await asyncio.to_thread(self._ask_liveness)
            if clients_ready is not None:
                await clients_ready.wait()
            self.load_at = await self._when_to_load()
            if client is not None:
                await self._load(client)
            await until(self.load_at + self.plan.lasts_s)
            await self._until_back()
            self.ended_at = time.monotonic()

    @contextlib.asynccontextmanager
    async def _pod(self) -> AsyncIterator[None]:
        self._running = asyncio.create_task(self.pod.run())
        try:
            yield
        finally:
            self.ended_at = self.ended_at or time.monotonic()
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self.pod.stop(STOP_GRACE_S)

    async def _until_open(self) -> None:
        give_up_at = time.monotonic() + self.plan.start_limit_s
        while not await asyncio.to_thread(is_open, self.server.port):
            if self._running.done():
                self._running.result()
            if self.pod.exits:
                self._refuse_kill_at_start()
                raise AppNotFound(
                    f"{self.server.target} ended with exit code {self.pod.exits[0]} before it opened its port:\n"
                    + _indent(last_words(self.server.log))
                )
            if time.monotonic() > give_up_at:
                raise AppNotFound(
                    f"{self.server.target} did not open port {self.server.port} within {self.plan.start_limit_s:.0f} s",
                    "give it more time with --start-limit, if it needs it. Its output ends:\n"
                    + _indent(last_words(self.server.log)),
                )
            await self.pod.moment()
        while not self.pod.is_ready and time.monotonic() < give_up_at:
            await self.pod.moment()

    def _refuse_kill_at_start(self) -> None:
        kill = next((e for e in self.pod.event_records(self.pod.started_at) if e.reason == "Killing"), None)
        if kill is not None:
            raise BadInput(
                f"{self.server.target} was killed {kill.at:.1f} s after its start, before it had opened its port: "
                f"{kill.message}",
                "it starts slower than its liveness probe waits: give the manifest a startupProbe, or raise --failures",
            )

    async def _until_back(self) -> None:
        """After a kill, see the container come back: a restart under way is part of what happened."""
        give_up_at = time.monotonic() + SETTLE_LIMIT_S
        while time.monotonic() < give_up_at and (
            self.pod.phase != "running"
            or not self.pod.is_ready
            or not await asyncio.to_thread(is_open, self.server.port)
        ):
            await self.pod.moment()

    def _ask_liveness(self) -> None:
        spec = self.plan.pod.probe(ProbeType.LIVENESS)
        if spec is None or not isinstance(spec.handler, HttpGet):
            return
        answer = probe(spec.handler, max(10.0, spec.timeout_s), self.pod.target)
        if answer.outcome not in ("success", "warning"):
            raise BadInput(
                f"the liveness probe GET {spec.handler.path} fails on the idle app: {answer.output or answer.error}",
                'Kubernetes would restart this pod whatever its code does; name a path that answers 200: --liveness "GET /path"',
            )

    async def _when_to_load(self) -> float:
        spec = self.plan.pod.probe(ProbeType.LIVENESS)
        if self.plan.first_tick_s is None or spec is None:
            return time.monotonic() + 0.2
        tick_at = await self.pod.tick(ProbeType.LIVENESS)
        begin_s = self.plan.load.begin_s if self.plan.load else 0.0
        at = tick_at + spec.period_s - self.plan.first_tick_s - begin_s
        while at < time.monotonic() + 0.1:
            at += spec.period_s
        await until(at - 0.05)
        return at

    async def _load(self, client: asyncio.subprocess.Process) -> None:
        assert client.stdin and client.stdout and self.load_at is not None
        client.stdin.write(f"go {self.load_at}\n".encode())
        await client.stdin.drain()
        while line := await client.stdout.readline():
            answer = json.loads(line)
            if answer == "done":
                return
            route, due_at, sent_at, answered_at, status, error = answer
            self.requests.append(Request(route, due_at, sent_at, answered_at, status, error))

    def timeline(self) -> PodTimeline:
        """All that happened, on the trial's own clock: zero is the first container start, or the load's."""
        zero = self.load_at if self.plan.from_load and self.load_at is not None else self.pod.started_at
        ended_at = self.ended_at or time.monotonic()
        shifted = [
            replace(r, due_at=r.due_at - zero, sent_at=r.sent_at - zero, answered_at=r.answered_at - zero)
            for r in self.requests
        ]
        until = ended_at - zero
        lives = [(p.from_s, p.to_s) for p in self.pod.phases(zero, until) if p.kind != "waiting"]
        return PodTimeline(
            duration_s=until,
            phases=self.pod.phases(zero, until),
            probes=tuple(self.pod.probe_records(zero)),
            stalls=read_stalls(self.folder / "record.jsonl", zero, until, lives, self.server.folder),
            requests=tuple(sorted(shifted, key=lambda r: r.due_at)),
            events=tuple(self.pod.event_records(zero)),
            unready=self.pod.unready(zero, until),
        )


@contextlib.asynccontextmanager
async def _client(plan: LoadPlan) -> AsyncIterator[asyncio.subprocess.Process]:
    """The client process, imported and waiting for its start; gone when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unstall.lab.load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdin and process.stdout
        process.stdin.write(plan_line(plan).encode())
        await process.stdin.drain()
        await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        if process.stdin:
            process.stdin.close()


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())
