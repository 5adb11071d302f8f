"""Many short callbacks in one turn of the loop are told from one long; a callback on uvloop has its request."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
import types
from typing import Any

import pytest
import uvloop

from unstall.runtime import mapping
from unstall.runtime.beat import Heart
from unstall.runtime.entered import Callbacks, contexts_being_run
from unstall.runtime.evidence import Episode
from unstall.runtime.mapping import Shared
from unstall.runtime.naming import route_of
from unstall.runtime.observer import ASKED, Observer
from unstall.runtime.sample import CURRENT
from unstall.runtime.timing import BUSY, PATIENCE_S
from unstall.runtime.turns import Turns
from unstall.runtime.watcher import LOOK_S, Watch

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


def test_a_callback_that_was_not_seen_for_long_may_have_been_short() -> None:
    turns: Any = Turns(types.SimpleNamespace(), 0)  # type: ignore[arg-type]
    shown = iter(["a", "b", "b", "c"])
    turns._callback = lambda: next(shown)
    assert [turns.moved_on() for _ in range(2)] == [False, True]
    assert turns.was_short(time.monotonic() + 1)
    assert not turns.was_short(turns.at)  # that was too late
    turns._since -= 0.2  # b began to be seen a while ago
    assert [turns.moved_on() for _ in range(2)] == [False, True]
    assert turns.seen_s >= 0.2
    assert not turns.was_short(time.monotonic() + 1)


def test_a_turn_of_short_callbacks_leaves_no_stall_behind() -> None:
    loop = types.SimpleNamespace(call_later=lambda delay, call: None, is_running=lambda: True)
    heart = Heart(loop, Shared(), 0.1)  # type: ignore[arg-type]
    heart.sign_at -= 0.11
    heart.passed(time.monotonic(), in_vain=True)
    assert heart.shared.gaps_since(0) == (0, [])
    heart.sign_at -= 0.11
    heart.passed(time.monotonic())
    assert heart.shared.gaps_since(0)[0] == 1


def watching(state: str, rung_before_s: float) -> tuple[Any, float]:
    """An observer that sees a loop in this state 0.1 s after its last sign; and that time."""
    made: Any = Observer.__new__(Observer)
    read_fd, made._bell_fd = os.pipe()
    os.close(read_fd)
    made.threshold_s, made._rung, now = 0.1, 1000.0, 1000.1
    made._rung_at = now - rung_before_s
    made.books = types.SimpleNamespace(state=lambda: state)
    return made, now


def test_a_loop_that_computes_is_given_a_moment_to_show_that_it_moves_on() -> None:
    made, now = watching("R", 0.005)
    assert made._patience_s(1000.0, now) == pytest.approx(PATIENCE_S - 0.005)
    assert made._patience_s(1000.0, now + PATIENCE_S) == 0.0
    made, now = watching("R", 0.06)
    assert made._patience_s(1000.0, now) == 0.0, "the app was asked long enough ago"
    os.close(made._bell_fd)


def test_a_loop_that_sleeps_in_a_call_is_given_none() -> None:
    made, now = watching("S", 0.005)
    assert made._patience_s(1000.0, now) == 0.0
    os.close(made._bell_fd)


def test_who_was_rung_early_looks_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Shared().cells
    rests: list[float] = []
    cells[mapping.STATE], cells[mapping.PERIOD] = mapping.RUNNING, 0.05
    now = time.monotonic()
    cells[mapping.SIGN], cells[mapping.BEAT] = now, now - 5  # a sign just now, and a beat long overdue
    heart = types.SimpleNamespace(stopped=False, quiet=False, rouse=lambda: None)
    made: Any = Watch.__new__(Watch)
    made.cells, made.heart, made.settings = cells, heart, types.SimpleNamespace(threshold_s=30.0)
    made._count = made._chores = lambda *now: None
    made.link = types.SimpleNamespace(alive=True, rest=rests.append)
    assert made._turn()
    assert 10 < rests[0] <= BUSY * 30.0  # the observer rings once for a stall, and has
    cells[mapping.BEAT] = time.monotonic()
    assert made._turn()
    assert rests[1] == LOOK_S


def test_a_thread_that_did_not_answer_is_asked_again_a_few_times_and_its_answer_is_told_at_once() -> None:
    answers = iter([(), (("app.py", 7, "block", True),)])
    told: list[str] = []
    made: Any = Observer.__new__(Observer)
    made.shared = Shared()
    made.cells, made._captured, made._asked, made.own = made.shared.cells, [], 1, ()
    made.table = types.SimpleNamespace(load=lambda rows: None, find=lambda stack, known: (None, None))
    made.capture = types.SimpleNamespace(take=lambda own: next(answers), number=0)
    made._judge = lambda *arguments: told.append("judged")
    made.story = types.SimpleNamespace(update=lambda *arguments: told.append("told"))
    episode = Episode(1000.0, 0.1)
    made._ask_again(episode, 1000.12, 0.0)
    assert (told, episode.samples) == ([], [])
    made._ask_again(episode, 1000.14, 0.0)
    assert told == ["judged", "told"]
    assert episode.guilty is not None
    assert episode.guilty.stack[0][:2] == ("app.py", 7)
    made._ask_again(episode, 1000.16, 0.0)  # it has answered
    assert told == ["judged", "told"]
    made._asked = ASKED
    made._ask_again(Episode(1001.0, 0.1), 1001.12, 0.0)  # that was often enough
