"""The live driver: real sockets, real time, and the same decisions as on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from unstall.kubelet.life import App
from unstall.kubelet.live import LivePod
from unstall.kubelet.prober import Target
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.virtual import play
from unstall.kubelet.wishes import Kill, StartContainer, Waiting, Wish
from unstall.model import HttpGet, ProbeSpec, ProbeType


class Answers(socketserver.ThreadingTCPServer):
    """Answers 200, but holds back every answer while it is blocked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.blocked: tuple[float, float] = (0.0, 0.0)

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.recv(4096)
            assert isinstance(self.server, Answers)
            start, end = self.server.blocked
            if start <= time.monotonic() < end:
                time.sleep(end - time.monotonic())
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Answers]:
    with Answers() as answers:
        thread = threading.Thread(target=answers.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield answers
        answers.shutdown()
        thread.join()


class Stub:
    """A container that leaves as soon as it is told to and its loop is free again."""

    def __init__(self, answers: Answers, deaf: bool = False) -> None:
        self.answers = answers
        self.deaf = deaf
        self.signals: list[tuple[str, float]] = []
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def terminate(self) -> None:
        self.signals.append(("TERM", time.monotonic()))
        free_s = 0.0 if self.deaf else max(0.0, self.answers.blocked[1] - time.monotonic())
        if not self.deaf:
            asyncio.get_running_loop().call_later(free_s + 0.05, self.leave, 0)

    def kill(self) -> None:
        self.signals.append(("KILL", time.monotonic()))
        self.leave(137)

    def leave(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self.exited)

    async def stop(self, grace_s: float) -> int:
        self.leave(0)
        return await self.exited


def spec(port: int, **more: int) -> PodSpec:
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(port), period_s=2, timeout_s=1, failure_threshold=2)
    return PodSpec(probes=(probe,), **more)  # type: ignore[arg-type]


async def drive(pod: LivePod, for_s: float) -> None:
    running = asyncio.create_task(pod.run())
    await asyncio.sleep(for_s)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pod.stop(0.1)


def live(server: Answers, block: tuple[float, float], for_s: float, deaf: bool = False, **more: int):  # type: ignore[no-untyped-def]
    """Drive a pod whose server is blocked from ``block[0]`` to ``block[1]`` seconds after the start."""

    async def run() -> tuple[LivePod, list[Stub], float]:
        stubs: list[Stub] = []

        async def start() -> Stub:
            stubs.append(Stub(server, deaf))
            return stubs[-1]

        pod = LivePod(spec(server.port, **more), start, Target(), random.Random(1).random)
        began_at = time.monotonic()
        server.blocked = (began_at + block[0], began_at + block[1])
        await drive(pod, for_s)
        return pod, stubs, began_at

    return asyncio.run(run())


def test_live_and_virtual_decide_the_same_on_the_same_script(server: Answers) -> None:
    block = (3.0, 9.0)
    pod, _, began_at = live(server, block, 10.5)
    app = App(starts_in_s=0.0, answers_in_s=0.0, stops_in_s=0.05, restarts_in_s=0.0)
    decided: list[tuple[type, float]] = []

    def watch(at: float, wish: Wish) -> None:
        if isinstance(wish, Kill | StartContainer | Waiting):
            decided.append((type(wish), at))

    play(spec(server.port), [(block[0], block[1] - block[0])], 10.5, app=app, watch=watch)
    seen: list[tuple[type, float]] = [(StartContainer, 0.0)]
    seen += [(Kill, event.at) for event in pod.event_records(began_at) if event.reason == "Killing"]
    seen += [(StartContainer, p.from_s) for p in pod.phases(began_at, 10.5) if p.kind == "running" and p.instance]
    assert [kind for kind, _ in seen] == [kind for kind, _ in decided]
    assert [at for _, at in seen] == pytest.approx([at for _, at in decided], abs=0.6)


def test_the_second_failure_in_a_row_kills_and_the_container_comes_back(server: Answers) -> None:
    pod, stubs, began_at = live(server, (1.0, 5.5), 7.5)
    records = pod.probe_records(began_at)
    assert [(p.outcome, p.run) for p in records if p.outcome == "failure"] == [("failure", 1), ("failure", 2)]
    assert all("context deadline exceeded" in p.output for p in records if p.outcome == "failure")
    assert [name for name, _ in stubs[0].signals] == ["TERM"] and len(stubs) == 2
    kinds = [phase.kind for phase in pod.phases(began_at, 7.5) if phase.kind != "starting"]
    assert kinds == ["running", "terminating", "running"]


def test_a_container_deaf_to_sigterm_is_killed_when_its_grace_is_over(server: Answers) -> None:
    _, stubs, _ = live(server, (0.5, 60.0), 7.5, deaf=True, grace_s=2)
    (term, told_at), (kill, killed_at) = stubs[0].signals[:2]
    assert (term, kill) == ("TERM", "KILL")
    assert killed_at - told_at >= 2.0


def test_a_crash_is_noticed_and_the_second_one_waits_for_the_back_off(server: Answers) -> None:
    async def run() -> tuple[LivePod, list[Stub], float]:
        stubs: list[Stub] = []

        async def start() -> Stub:
            stubs.append(Stub(server))
            asyncio.get_running_loop().call_later(0.1, stubs[-1].leave, 1)
            return stubs[-1]

        pod = LivePod(spec(server.port), start, Target(), random.Random(1).random)
        began_at = time.monotonic()
        await drive(pod, 4.0)
        return pod, stubs, began_at

    pod, stubs, began_at = asyncio.run(run())
    assert len(stubs) == 2 and pod.exits == [1, 1]
    assert "BackOff" in {event.reason for event in pod.event_records(began_at)}
    assert pod.phases(began_at, 4.0)[-1].kind == "waiting"
