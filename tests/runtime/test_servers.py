"""Programs that start their servers themselves: any framework, any number of loops, none watched twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import Server, free_port, line_of, wait_for

from unstall import watch
from unstall.runtime import asgi, mapping
from unstall.runtime.mapping import Shared


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    """Start a Python program of the test apps under `unstall run`."""
    servers: list[Server] = []

    def start(name: str, *ports: int) -> Server:
        record = tmp_path / "r.jsonl"
        command = ["-m", "unstall", "run", "--record", str(record), "--", sys.executable, "-m", name, *map(str, ports)]
        servers.append(Server(record, command, ports[0], {"PYTHONPATH": "", "UNSTALL_THRESHOLD": ""}))
        servers[-1].wait_ready()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_an_application_that_is_not_asgi_is_watched_from_its_start_to_its_end(program: Any) -> None:
    server = program("pages", free_port())
    server.wait_events("alive")  # its routes are known by then
    assert server.get("/stalls/a") == 200
    stall = server.wait_stall(line_of("aiohttp", "pages.py"))
    assert (stall["route"], stall["route_proof"]) == ("GET /stalls/{name}", "frame")
    server.stop()
    assert [e["event"] for e in server.events("started", "stopped")] == ["started", "stopped"]


def test_two_loops_of_one_process_are_both_watched_and_neither_is_started_anew(program: Any) -> None:
    ports = free_port(), free_port()
    server = program("two_loops", *ports)
    other = Server.__new__(Server)
    other.port = ports[1]
    wait_for(lambda: _answers(other), 60, lambda: server.log.read_text())
    for _ in range(3):
        server.get("/health")
        other.get("/health")
    server.get("/sleep/0.3")
    server.wait_stall(line_of("helper"))
    other.get("/depends")
    assert server.wait_stall(line_of("dependency"))["route"] == "GET /depends"
    assert len(server.events("started")) == 2
    assert len({e["monotonic"] for e in server.events("started")}) == 2


def _answers(server: Server) -> bool:
    try:
        return server.get("/health", 2) == 200
    except OSError:
        return False


def test_the_observer_of_a_loop_that_is_over_ends_while_its_process_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    observers: list[int] = []

    async def call() -> None:
        await watch(app, record="")({"type": "http", "path": "/", "method": "GET"}, None, None)  # type: ignore[arg-type]
        until = time.monotonic() + 60
        seen = asgi._here.watches[threading.get_ident()]
        while not seen.link.alive:
            assert time.monotonic() < until, "no observer"
            await asyncio.sleep(0.02)
        observers.append(seen.link._process.pid)

    for _ in range(2):
        asyncio.run(call())
    assert observers[0] != observers[1]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in observers), 60, lambda: f"left: {observers}")


def test_what_a_forked_child_writes_reaches_nobody() -> None:
    file = os.memfd_create("test")
    os.ftruncate(file, mapping.SIZE)
    shared = Shared(file)
    slot = shared.enter("GET /parents")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from 3.12 on of other threads, which this child does not need
        child = os.fork()
    if child == 0:
        shared.disown()
        shared.leave(slot)
        shared.add_gap(1.0, 2.0, 0.5)
        shared.cells[mapping.BEAT] = 9.0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert shared.in_flight(9) == ["GET /parents"]
    assert (shared.cells[mapping.BEAT], shared.gaps_since(0)) == (0.0, (0, []))
    os.close(file)


def test_a_loop_of_another_kind_is_served_unwatched() -> None:
    """No running asyncio loop, as under trio: the app is called all the same."""
    called: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])

    step = watch(app, record="", observer=False)({"type": "http", "path": "/a", "method": "GET"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        step.send(None)
    assert called == ["/a"]


@pytest.mark.parametrize("said", [["--workers", "3"], ["--workers=3"], ["-w", "3"]])
def test_the_number_of_workers_is_read_from_the_command_line(said: list[str]) -> None:
    code = "import os; print('workers', os.environ.get('UNSTALL_WORKERS'))"
    command = [sys.executable, "-m", "unstall", "run", "--", sys.executable, "-c", code, *said]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "workers 3\n" in done.stdout
