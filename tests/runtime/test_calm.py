"""Under load most requests go by; what they would have told is found when it is needed."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from tests.runtime.conftest import Server, line_of

from unstall import watch
from unstall.runtime import asgi, mapping
from unstall.runtime.beat import ATTENDED, COUNT_EVERY, LONG, Heart
from unstall.runtime.mapping import Shared
from unstall.runtime.open_requests import Requests, has_children, open_requests
from unstall.runtime.sample import CURRENT
from unstall.runtime.timing import PERIOD_S, stall_start

Serve = Callable[..., Server]
SCOPE = {"type": "http", "method": "GET", "path": "/a"}


@pytest.fixture
def heart() -> Any:
    """One whose beats are the test's to give."""
    loop = types.SimpleNamespace(call_later=lambda delay, call: None, is_running=lambda: True)
    said: list[bool] = []
    made = Heart(loop, Shared(), 0.1, said.append)  # type: ignore[arg-type]
    made.said = said  # type: ignore[attr-defined]
    made.cells[mapping.BEAT] = made.sign_at  # as where it has just begun
    return made


def test_a_beat_attends_to_its_first_requests_and_the_next_beat_to_its_own(heart: Any) -> None:
    for _ in range(2):
        assert [heart.attends() for _ in range(ATTENDED + 3)] == [True] * ATTENDED + [False] * 3
        assert heart.cells[mapping.CALM] == 1.0
        assert heart.said[-1] is True
        heart._tick()
        assert heart.said[-1] is False
    heart._tick()  # no request since the last one
    assert heart.cells[mapping.CALM] == 0.0


def test_where_there_are_many_for_long_most_beats_only_see_that_one_came(heart: Any) -> None:
    for beat in range(LONG + 2 * COUNT_EVERY):
        is_loaded = beat >= LONG and beat % COUNT_EVERY > 0
        assert heart.attends() is not is_loaded
        assert [False, *heart.said][-1] is is_loaded
        assert [heart.attends() for _ in range(ATTENDED + 2)].count(True) == (0 if is_loaded else ATTENDED - 1)
        heart._tick()


def test_a_request_that_is_only_seen_leaves_the_stall_to_begin_half_a_beat_after_the_last(heart: Any) -> None:
    for _ in range(LONG):
        for _ in range(ATTENDED):
            heart.attends()
        heart._tick()
    heart.attends()
    assert heart.cells[mapping.SIGN] == heart.cells[mapping.BEAT]


def test_once_requests_are_few_again_all_are_attended_to(heart: Any) -> None:
    for _ in range(LONG + 1):
        for _ in range(ATTENDED):
            heart.attends()
        heart._tick()
    for _ in range(COUNT_EVERY):
        heart.attends()
        heart._tick()
    assert [heart.attends() for _ in range(ATTENDED)] == [True] * ATTENDED


def test_a_beat_that_stalls_made_late_is_not_gone_back_to(heart: Any) -> None:
    heart.cells[mapping.BEAT] -= 9.0
    assert all(heart.attends() for _ in range(ATTENDED + 3))
    assert heart.sign_at - heart.cells[mapping.BEAT] >= 9.0


@pytest.mark.parametrize(("signed_s", "left_s", "start_s"), [
    (0.001, 0.02, 0.025),
    (0.04, 0.045, 0.04),
    (0.001, 0.06, 0.001),
], ids=["before the middle", "after it", "before the middle of a late beat"])  # fmt: skip
def test_when_the_last_request_attended_to_leaves_its_sign_stays_only_where_it_says_more_than_the_middle(
    heart: Any, monkeypatch: pytest.MonkeyPatch, signed_s: float, left_s: float, start_s: float
) -> None:
    async def scene() -> None:
        gate = asyncio.Event()
        wrapped = watch(_app, record="", observer=False)
        serving = asyncio.create_task(wrapped._attend(dict(SCOPE), gate.wait, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        watched = asgi._here.watch
        monkeypatch.setattr(watched, "heart", heart)
        beat = heart.cells[mapping.BEAT]
        heart.cells[mapping.SIGN] = heart.sign_at = beat + signed_s
        monkeypatch.setattr("unstall.runtime.beat._monotonic", lambda: beat + left_s)
        monkeypatch.setattr(asgi, "_calm", True)
        gate.set()
        await serving
        start = stall_start(heart.cells[mapping.SIGN], beat, PERIOD_S)
        assert start - beat == pytest.approx(start_s)

    asyncio.run(scene())


def test_a_late_beat_has_all_requests_attended_to_until_the_next(heart: Any) -> None:
    for _ in range(ATTENDED + 3):
        heart.attends()
    heart.rouse()
    assert heart.said[-1] is False
    assert all(heart.attends() for _ in range(100))
    heart._tick()
    assert [heart.attends() for _ in range(ATTENDED + 1)][-1] is False


def test_where_requests_make_tasks_none_goes_by_unmarked(heart: Any) -> None:
    heart.mark_all()
    assert [heart.attends() for _ in range(ATTENDED + 2)].count(True) == ATTENDED
    assert True not in heart.said


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await receive()


def test_open_requests_are_found_in_the_tasks_that_serve_them() -> None:
    async def scene() -> None:
        gate = asyncio.Event()

        async def server(scope: Any) -> None:
            await _app(scope, gate.wait, None)

        scopes = [dict(SCOPE), {**SCOPE, "path": "/b"}]
        tasks = [*map(asyncio.create_task, map(server, scopes)), asyncio.create_task(gate.wait())]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        assert sorted(scope["path"] for scope in open_requests(loop, {id(scopes[0]): scopes[0]})) == ["/a", "/b"]
        gate.set()
        await asyncio.gather(*tasks)
        assert open_requests(loop, {}) == []

    asyncio.run(scene())


def test_a_task_that_a_request_made_is_told_from_the_one_that_serves_it() -> None:
    async def scene() -> None:
        gate = asyncio.Event()

        async def parent() -> None:
            CURRENT.set(SCOPE)
            await asyncio.create_task(gate.wait())

        loop = asyncio.get_running_loop()
        wrapped = watch(_app, record="", observer=False)
        serving = asyncio.create_task(wrapped._attend(dict(SCOPE), gate.wait, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert not has_children(loop)
        made = asyncio.create_task(parent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert has_children(loop)
        gate.set()
        await asyncio.gather(serving, made)

    asyncio.run(scene())


@pytest.mark.parametrize(("blame", "own", "route", "marks"), [
    ("code", True, None, True),
    ("code", True, "GET /a", False),
    ("code", False, None, False),
    ("environment", True, None, False),
])  # fmt: skip
def test_own_code_that_blocks_in_no_known_request_has_all_marked(
    heart: Any, blame: str, own: bool, route: str | None, marks: bool
) -> None:
    requests = Requests(heart, counted=False)
    record = {"blame": blame, "route": route, "site": {"own": own}}
    requests.told(record)
    assert not heart.marks_all, "as long as every request is attended to, its context has told"
    heart.cells[mapping.CALM] = 1.0
    requests.told(record)
    assert heart.marks_all is marks


def test_servers_that_ask_are_told_that_the_wrapper_is_awaited() -> None:
    wrapped = watch(_app)
    assert inspect.iscoroutinefunction(wrapped.__call__)
    assert list(inspect.signature(watch(Starlette())).parameters) == ["scope", "receive", "send"]
    wrapped.version = "1"  # type: ignore[attr-defined]
    for made in (pickle.loads(pickle.dumps(wrapped)), copy.copy(wrapped)):
        assert (made.app, made.version, made.__call__) == (_app, "1", made._attend)


def test_a_calm_wrapper_is_called_as_if_it_were_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = watch(_app)
    monkeypatch.setattr(asgi._here, "watches", {0: None})
    for calm, code in [(True, _app.__code__), (False, asgi.Watched._attend.__code__)]:
        asgi.calm(calm)
        coroutine: Any = wrapped(SCOPE, None, None)  # type: ignore[arg-type]
        assert coroutine.cr_code is code
        coroutine.close()


def test_a_wrapper_that_nobody_holds_is_forgotten() -> None:
    gone = weakref.ref(watch(_app))
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stall_in_a_request_that_went_by_has_its_line_and_request_and_those_that_wait(
    serve: Serve, loop: str
) -> None:
    server = serve("--loop", loop, app="calm:app")
    server.wait_events("alive")  # the table of routes is there by then
    server.get("/calm")
    waiting = threading.Thread(target=server.get, args=("/awaits/3",))
    waiting.start()
    time.sleep(1)
    server.get("/sleep/0.4")
    stall = server.wait_stall(line_of("helper"))
    assert (stall["route"], stall["route_proof"]) == ("GET /sleep/{seconds}", "frame")
    assert stall["duration_s"] >= 0.37
    waiting.join()
    # On a machine that is busy enough the waiting one may be over by then.
    assert "GET /sleep/{seconds}" in stall["in_flight"]
    assert set(stall["in_flight"]) <= {"GET /awaits/{seconds}", "GET /sleep/{seconds}"}


def test_a_held_gil_in_a_request_that_went_by_is_told_by_the_endpoint_on_the_stack(serve: Serve) -> None:
    server = serve("--loop", "uvloop", app="calm:app")
    server.wait_events("alive")
    server.get("/calm")
    server.get("/gil")
    assert server.wait_stall(line_of("gil"))["route"] == "GET /gil"
