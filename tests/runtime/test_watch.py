"""A watched server names every stall: line, route, length."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.conftest import Server, line_of

Serve = Callable[..., Server]
LOOPS = ["asyncio", "uvloop"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stall_is_recorded_with_line_route_and_length(serve: Serve, loop: str) -> None:
    server = serve("--loop", loop)
    ways = [
        ("/sleep/0.3", "helper", "GET /sleep/{seconds}", "frame"),
        ("/depends", "dependency", "GET /depends", "frame"),
        ("/background", "background", "GET /background", "frame"),
        ("/stream", "stream", "GET /stream", "task"),
        ("/task", "task", "GET /task", "task"),
    ]
    for path, mark, route, proof in ways:
        assert server.get(path) == 200
        stall = server.wait_stall(line_of(mark))
        assert (stall["site"]["line"], stall["route"], stall["route_proof"]) == (line_of(mark), route, proof)
        assert stall["site"]["path"].endswith("stalling.py")
        assert any(frame["line"] == line_of(mark) for frame in stall["stack"][:1])
        # The sleep is never shorter than asked; the start is known to half a beat.
        assert stall["duration_s"] >= 0.27
        began = [e for e in server.events("stall_began") if e["monotonic"] == stall["monotonic"]]
        assert len(began) == 1


def test_the_beginning_is_on_disk_while_the_stall_lasts(serve: Serve) -> None:
    server = serve()
    client = threading.Thread(target=server.get, args=("/sleep/3",))
    client.start()
    began = server.wait_began(line_of("helper"))
    assert client.is_alive()
    assert not [e for e in server.events("stall_ended") if e["monotonic"] == began["monotonic"]]
    assert began["site"]["function"] == "deepest"
    assert 0.1 <= began["duration_s"] < 3
    client.join()
    assert server.wait_stall(line_of("helper"))["duration_s"] >= 3


def test_a_request_that_only_waits_is_listed_in_flight_and_not_blamed(serve: Serve) -> None:
    server = serve()
    waiting = threading.Thread(target=server.get, args=("/awaits/3",))
    waiting.start()
    time.sleep(1)
    server.get("/sleep/0.3")
    waiting.join()
    stall = server.wait_stall(line_of("helper"))
    assert stall["route"] == "GET /sleep/{seconds}"
    assert sorted(stall["in_flight"]) == ["GET /awaits/{seconds}", "GET /sleep/{seconds}"]


@pytest.mark.parametrize("loop", LOOPS)
def test_threads_and_waiting_and_many_short_requests_are_no_stall(serve: Serve, loop: str) -> None:
    server = serve("--loop", loop, UNSTALL_THRESHOLD="0.25")
    paths = ["/thread", "/awaits/0.3", "/short", "/short", "/short", "/short"] * 5
    clients = [threading.Thread(target=server.get, args=(path,)) for path in paths]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    server.stop()
    blamed = [e["site"] for e in server.events("stall_ended") if e["blame"] == "code"]
    assert [site for site in blamed if site and site["own"]] == []
    assert server.events("stopped")


def test_each_worker_records_under_its_own_pid(serve: Serve) -> None:
    server = serve("--workers", "2")
    started = server.wait_events("started", 2)
    assert len({e["pid"] for e in started}) == 2
    assert {e["worker"] for e in started} == {1, 2}
    assert {e["workers"] for e in started} == {2}


def test_stopped_says_how_long_was_watched(serve: Serve) -> None:
    server = serve()
    server.get("/sleep/0.2")
    server.wait_stall(line_of("helper"))
    server.stop()
    stopped = server.wait_events("stopped")[0]
    assert stopped["stalls"] >= 1
    assert stopped["stalled_s"] >= 0.17
    assert stopped["watched_s"] >= stopped["stalled_s"]
    assert stopped["ready_after_s"] > 0
    assert stopped["loop"] in ("uvloop", "asyncio")


def test_an_exception_of_the_app_passes_through_unchanged() -> None:
    from unstall import watch

    class Mine(Exception): ...

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise Mine

    async def call() -> None:
        with pytest.raises(Mine):
            await watch(app, record="", observer=False)({"type": "http", "path": "/", "method": "GET"}, None, None)  # type: ignore[arg-type]

    asyncio.run(call())


def test_attributes_of_the_wrapped_app_are_reached_through_the_wrapper() -> None:
    from fastapi import FastAPI

    from unstall import watch

    app = FastAPI(title="mine")
    assert watch(app).title == "mine"
