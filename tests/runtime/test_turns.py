"""Many short callbacks in one turn of the loop are told from one long; a callback on uvloop has its request."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import uvloop

from unstall.runtime.entered import Callbacks, contexts_being_run
from unstall.runtime.naming import route_of
from unstall.runtime.sample import CURRENT
from unstall.runtime.turns import Turns

SCOPE = {"type": "http", "method": "GET", "path": "/a"}


def look_from_outside(look: Any, seen: list[Any], blocked: threading.Event) -> threading.Thread:
    """A thread that looks once the loop's thread says that it is blocked, and then lets it go on."""

    def run() -> None:
        assert blocked.wait(60)
        seen.append(look())
        blocked.clear()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def block_until_seen(blocked: threading.Event) -> None:
    blocked.set()
    until = time.monotonic() + 60
    while blocked.is_set() and time.monotonic() < until:
        time.sleep(0.001)


def test_another_task_is_another_callback_and_the_same_task_is_not() -> None:
    seen: list[bool] = []

    async def scene() -> None:
        turns = Turns(asyncio.get_running_loop(), threading.get_ident())

        async def part(times: int) -> None:
            for _ in range(times):
                blocked = threading.Event()
                thread = look_from_outside(turns.moved_on, seen, blocked)
                block_until_seen(blocked)
                thread.join()

        await asyncio.gather(part(2), part(1))
        turns.forget()
        await asyncio.create_task(part(1))

    asyncio.run(scene())
    assert seen == [False, False, True, False]


def test_callbacks_without_a_task_are_told_by_their_handles() -> None:
    seen: list[bool] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        turns = Turns(loop, threading.get_ident())

        def part() -> None:
            blocked = threading.Event()
            thread = look_from_outside(turns.moved_on, seen, blocked)
            block_until_seen(blocked)
            thread.join()

        loop.call_soon(part)
        loop.call_soon(part)
        await asyncio.sleep(0.01)

    asyncio.run(scene())
    assert seen == [False, True]


def test_a_callback_on_uvloop_has_the_request_that_scheduled_it() -> None:
    seen: list[Any] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def part() -> None:
            blocked = threading.Event()
            thread = look_from_outside(lambda: Callbacks(loop).request(1.0), seen, blocked)
            block_until_seen(blocked)
            thread.join()
            finished.set()

        def request() -> None:
            CURRENT.set(SCOPE)
            loop.call_later(0.001, part)

        contextvars.copy_context().run(request)
        await finished.wait()
        finished.clear()
        loop.call_soon(part)  # began in no request
        await finished.wait()

    uvloop.run(scene())
    assert seen == [(route_of(SCOPE), "callback"), (None, None)]


def test_a_context_that_nobody_runs_is_not_taken_for_one() -> None:
    waiting = contextvars.copy_context()

    async def scene() -> list[Any]:
        asyncio.get_running_loop().call_later(60, print, context=waiting)
        return list(contexts_being_run(asyncio.get_running_loop()))

    found = uvloop.run(scene())
    assert found, "the task that asks is itself run in a context"
    assert all(context is not waiting for context in found)
