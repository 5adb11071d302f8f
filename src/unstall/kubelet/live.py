"""Drives the kubelet's machine with real processes, real probes and the monotonic clock.

The machine decides; this carries out its wishes and tells it what came of them. What happened is kept as
plain records, so that a timeline can be taken from it at any moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from unstall.kubelet.machine import Pod
from unstall.kubelet.prober import ProbeAnswer, Target, probe_once
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wire import Abort
from unstall.kubelet.wishes import Kill, Outcome, ReadyChanged, StartContainer, StartProbe, Wish
from unstall.model import Handler, Phase, PodEvent, ProbeRecord, ProbeType

FAR_S = 3600.0


class Container(Protocol):
    """One life of a process, as a container runtime offers it."""

    def terminate(self) -> None:
        """SIGTERM to the first process."""

    def kill(self) -> None:
        """SIGKILL to all of them."""

    async def wait(self) -> int:
        """The exit code, 128 + signal where a signal ended it."""

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, at most ``grace_s`` of patience, SIGKILL; returns when all is gone."""


class LivePod:
    """A pod of one container, its probes and its restarts.

    ``start`` starts the container; ``target`` is where its probes go. Times are those of ``clock``.
    """

    def __init__(
        self,
        spec: PodSpec,
        start: Callable[[], Awaitable[Container]],
        target: Target,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.target = target
        self.exits: list[int] = []
        self.started_at = clock()
        self._start = start
        self._clock = clock
        self._pod = Pod(spec, random)
        self._container: Container | None = None
        self._instance = -1
        self._turned = asyncio.Event()
        self._abort = Abort()
        self._askers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="prober")
        self._changes: list[tuple[float, str, int]] = []
        self._ready: list[tuple[float, bool]] = []
        self._probes: list[ProbeRecord] = []
        self._events: list[PodEvent] = []
        self._ticks: dict[ProbeType, float] = {}
        self._runs: dict[ProbeType, tuple[str, int]] = {}

    @property
    def phase(self) -> str:
        """What the container does now: starting, running, terminating or waiting."""
        return self._changes[-1][1] if self._changes else "starting"

    @property
    def is_ready(self) -> bool:
        """Whether the pod is ready now."""
        return bool(self._ready) and self._ready[-1][1]

    async def run(self) -> None:
        """Go on until cancelled; then call `stop`.

        Raises:
            UnstallError: the container could not be started at all.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.started_at = self._clock()
                self._carry_out(self._pod.pod_added(self._clock()))
                while True:
                    self._turned.clear()
                    wait_s = min(self._pod.next_wake, self._clock() + FAR_S) - self._clock()
                    try:
                        async with asyncio.timeout(max(wait_s, 0.0)):
                            await self._turned.wait()
                    except TimeoutError:
                        self._carry_out(self._pod.wake(self._clock()))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def stop(self, grace_s: float) -> None:
        """End the container for good, whatever it is doing, and any probe under way."""
        self._abort.set()
        await asyncio.to_thread(self._askers.shutdown)
        self._abort.close()
        if self._container is not None:
            await self._container.stop(grace_s)

    async def moment(self) -> None:
        """Let a moment pass, for whoever waits until the pod is in some state."""
        await asyncio.sleep(0.05)

    async def tick(self, type: ProbeType) -> float:
        """When the latest probe of this type began; waits for the first one."""
        while type not in self._ticks:
            await self.moment()
        return self._ticks[type]

    def _carry_out(self, wishes: list[Wish]) -> None:
        now = self._clock()
        for wish in wishes:
            match wish:
                case StartContainer():
                    self._instance += 1
                    self._change(now, "starting")
                    self._tasks.create_task(self._live())
                case StartProbe():
                    self._tasks.create_task(self._ask(wish))
                case Kill():
                    self._change(now, "terminating")
                    self._tasks.create_task(self._end(wish))
                case ReadyChanged():
                    self._ready.append((now, wish.ready))
                case PodEvent():
                    self._events.append(replace(wish, at=now))
        self._turned.set()

    def _change(self, now: float, kind: str) -> None:
        self._changes.append((now, kind, self._instance))

    async def _live(self) -> None:
        container = self._container = await self._start()
        if self._instance == 0:
            self.started_at = self._clock()
        self._change(self._clock(), "running")
        self._carry_out(self._pod.container_started(self._clock()))
        code = await container.wait()
        self.exits.append(code)
        now = self._clock()
        reason = "Completed" if code == 0 else "Error"
        self._events.append(
            PodEvent(now, reason, f"exit code {code}", "Normal" if code == 0 else "Warning", "container")
        )
        self._carry_out(self._pod.container_exited(code, now))
        if self.phase != "starting":
            self._change(now, "waiting")

    async def _ask(self, wish: StartProbe) -> None:
        began_at, instance = self._clock(), self._instance
        if wish.attempt == 1:
            self._ticks[wish.type] = began_at
        try:
            answer = await self._probe(wish.probe.handler, wish.probe.timeout_s)
        except Exception as error:
            answer = ProbeAnswer(Outcome.UNKNOWN, error=f"{type(error).__name__}: {error}")
        ended_at = self._clock()
        self._note(wish, answer, began_at, ended_at, instance)
        self._carry_out(
            self._pod.probe_ended(
                wish.type, answer.outcome, ended_at, answer.output or answer.error or "", str(answer.result)
            )
        )

    async def _probe(self, handler: Handler, timeout_s: float) -> ProbeAnswer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._askers, probe_once, handler, timeout_s, self.target, self._abort)

    def _note(self, wish: StartProbe, answer: ProbeAnswer, began_at: float, ended_at: float, instance: int) -> None:
        outcome = {Outcome.UNKNOWN: "failure"}.get(answer.outcome, str(answer.outcome))
        judged = "success" if outcome == "warning" else outcome
        before, run = self._runs.get(wish.type, ("", 0))
        run = run + 1 if judged == before else 1
        decided = wish.type is not ProbeType.READINESS and judged == "failure" and run >= wish.probe.failure_threshold
        if judged != "error":  # an error never counts; a worker that has decided on a kill counts anew
            self._runs[wish.type] = ("", 0) if decided else (judged, run)
        text = answer.output or answer.error or ""
        self._probes.append(ProbeRecord(wish.type, began_at, ended_at, outcome, text, run, instance))

    async def _end(self, wish: Kill) -> None:
        container, instance = self._container, self._instance
        assert container is not None
        decided_at = self._clock()
        await self._prestop(wish)
        times = wish.times(self._clock() - decided_at)
        await self._until(decided_at + times.sigterm_after_s)
        if instance == self._instance:
            container.terminate()
        await self._until(decided_at + times.sigkill_after_s)
        if instance == self._instance and self.phase == "terminating":
            container.kill()

    async def _prestop(self, wish: Kill) -> None:
        if isinstance(wish.prestop, int):
            await asyncio.sleep(min(wish.prestop, wish.grace_s))
        elif wish.prestop is not None and wish.grace_s > 0:
            await self._probe(wish.prestop, wish.grace_s)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._clock()))

    def phases(self, zero: float, until: float) -> tuple[Phase, ...]:
        """What the container did, in seconds after ``zero``, up to ``until`` seconds after it."""
        ends = [at for at, _, _ in self._changes[1:]] + [zero + until]
        found = (
            Phase(kind, max(at - zero, 0.0), min(end - zero, until), instance)
            for (at, kind, instance), end in zip(self._changes, ends, strict=True)
        )
        return tuple(phase for phase in found if phase.to_s > phase.from_s)

    def probe_records(self, zero: float) -> list[ProbeRecord]:
        """Every probe sent since ``zero``, in seconds after it."""
        sent = [probe for probe in self._probes if probe.started_at >= zero]
        return [replace(p, started_at=p.started_at - zero, ended_at=p.ended_at - zero) for p in sent]

    def event_records(self, zero: float) -> list[PodEvent]:
        """Every event since ``zero``, in seconds after it."""
        return [replace(event, at=event.at - zero) for event in self._events if event.at >= zero]

    def unready(self, zero: float, until: float) -> tuple[tuple[float, float], ...]:
        """When the pod was not ready, in seconds after ``zero``."""
        found: list[tuple[float, float]] = []
        since: float | None = 0.0
        for at, ready in self._ready:
            if ready and since is not None:
                found.append((since, at - zero))
                since = None
            elif not ready and since is None:
                since = at - zero
        if since is not None:
            found.append((since, until))
        return tuple((max(start, 0.0), min(end, until)) for start, end in found if end > max(start, 0.0))
