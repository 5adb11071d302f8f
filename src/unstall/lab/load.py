"""The client: an open loop in a process of its own, with its own clock.

Run as ``python -m unstall.lab.load``. It reads one plan (`LoadPlan` as JSON) from standard input, says
``ready``, waits for ``go T`` (a time of the monotonic clock, which all processes of a Linux or macOS
machine share), sends its requests and prints one JSON array per answer:
``[route, due_at, sent_at, answered_at, status, error]``. It stops by itself, or when its input ends.

Open loop means that a request is sent when it is due, whether or not earlier ones were answered: a client
that waits for its answers would measure its own patience ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

from unstall.records import from_plain, to_plain


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send: ``route`` is how it is named in the numbers, as ``GET /hello``."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None

    @property
    def route(self) -> str:
        """Method and path without the query."""
        return f"{self.method} {self.path.split('?', 1)[0]}"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to send: a burst of ``burst`` of each call at once, or ``rate`` requests a second for
    ``duration_s``, or ``concurrency`` clients that each wait for their answer before the next request.

    They begin ``begin_s`` after the start. ``watch`` is asked every ``watch_every_s`` from the start until the other answers are there, or for
    ``duration_s``: in the built-in experiments the health endpoint.
    """

    url: str
    calls: tuple[Call, ...]
    burst: int = 0
    rate: float = 0.0
    concurrency: int = 0
    duration_s: float = 0.0
    begin_s: float = 0.0
    timeout_s: float = 60.0
    seed: int = 7
    watch: Call | None = None
    watch_every_s: float = 0.5


def schedule(plan: LoadPlan) -> Iterator[tuple[float, Call]]:
    """When each request is due, in seconds after the start. A rate makes a seeded Poisson process."""
    if plan.burst:
        for _ in range(plan.burst):
            for call in plan.calls:
                yield plan.begin_s, call
        return
    draw = random.Random(plan.seed)
    due_s, turn = plan.begin_s, 0
    while plan.rate:
        due_s += draw.expovariate(plan.rate)
        if due_s >= plan.begin_s + plan.duration_s:
            return
        yield due_s, plan.calls[turn % len(plan.calls)]
        turn += 1


class Client:
    """Sends a plan and prints what came of it."""

    def __init__(self, plan: LoadPlan, session: aiohttp.ClientSession, start_at: float) -> None:
        self.plan = plan
        self.session = session
        self.start_at = start_at
        self.tasks: set[asyncio.Task[None]] = set()
        self.watched: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send everything; return when every answer is there."""
        watching = asyncio.create_task(self._watch()) if self.plan.watch else None
        if self.plan.concurrency:
            await asyncio.gather(*(self._closed(number) for number in range(self.plan.concurrency)))
        else:
            for due_s, call in schedule(self.plan):
                await until(self.start_at + due_s)
                self._spawn(call, self.start_at + due_s)
        while asked := self.tasks - self.watched:
            await asyncio.wait(asked)
        if watching:
            await until(self.start_at + self.plan.duration_s)
            watching.cancel()
            while self.tasks:
                await asyncio.wait(self.tasks)

    def _spawn(self, call: Call, due_at: float) -> asyncio.Task[None]:
        task = asyncio.create_task(self._send(call, due_at))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _closed(self, number: int) -> None:
        turn = number
        while time.monotonic() < self.start_at + self.plan.duration_s:
            await self._send(self.plan.calls[turn % len(self.plan.calls)], time.monotonic())
            turn += 1

    async def _watch(self) -> None:
        assert self.plan.watch is not None
        turn = 0
        while True:
            due_at = self.start_at + turn * self.plan.watch_every_s
            await until(due_at)
            self.watched.add(task := self._spawn(self.plan.watch, due_at))
            task.add_done_callback(self.watched.discard)
            turn += 1

    async def _send(self, call: Call, due_at: float) -> None:
        sent_at, status, error = time.monotonic(), None, None
        try:
            async with self.session.request(
                call.method, self.plan.url + call.path, headers=dict(call.headers), data=call.body
            ) as answer:
                await answer.read()
                status = answer.status
        except asyncio.CancelledError:
            error = "not answered when the trial ended"
            _say([call.route, due_at, sent_at, time.monotonic(), None, error])
            raise
        except (OSError, _client_error()) as failure:
            error = _words(failure)
        _say([call.route, due_at, sent_at, time.monotonic(), status, error])


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


_KNOWN = {
    "Connection reset by peer": "connection reset",
    "Server disconnected": "connection closed",
    "Connect call failed": "connection refused",
}


def _words(failure: BaseException) -> str:
    if isinstance(failure, TimeoutError):
        return "timed out"
    text = str(failure) or type(failure).__name__
    for known, words in _KNOWN.items():
        if known in text:
            return words
    return text[:200]


async def until(at: float) -> None:
    """Sleep until a time of the monotonic clock; return at once where it is past."""
    wait_s = at - time.monotonic()
    if wait_s > 0:
        await asyncio.sleep(wait_s)


def _say(line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _main() -> None:
    import aiohttp

    orders = await _input()
    plan = from_plain(LoadPlan, json.loads(await orders.readline()))
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=plan.timeout_s),
    )
    async with session:
        _say("ready")
        go = (await orders.readline()).split()
        if not go:
            return
        work = asyncio.create_task(Client(plan, session, float(go[1])).run())
        told_to_stop = asyncio.create_task(orders.read())
        await asyncio.wait({work, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            told_to_stop.cancel()
            work.result()
            _say("done")
            return
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def plan_line(plan: LoadPlan) -> str:
    """The plan as the one line that the client process reads."""
    return json.dumps(to_plain(plan)) + "\n"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_main())
