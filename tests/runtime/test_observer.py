"""The observer: live evidence whatever holds the GIL, a witness that outlives the app, blame where it belongs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime.conftest import Server, line_of, wait_for

Serve = Callable[..., Server]


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def waits_for_death(pid: int) -> bool:
    """True once the observer has opened what tells it that the app is gone: then it watches."""
    with contextlib.suppress(OSError):
        return any("pidfd" in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def observer_of(server: Server) -> int:
    """The pid of the observer, once it watches."""

    def observers() -> list[int]:
        return [
            pid
            for pid in children(server.process.pid)
            if b"unstall.runtime.observer" in Path(f"/proc/{pid}/cmdline").read_bytes() and waits_for_death(pid)
        ]

    wait_for(lambda: len(observers()) == 1, 60, lambda: server.log.read_text())
    return observers()[0]


def in_background(server: Server, path: str) -> None:
    def call() -> None:
        with contextlib.suppress(OSError):
            server.get(path)

    threading.Thread(target=call, daemon=True).start()


@pytest.mark.parametrize(
    ("loop", "path", "mark", "route"),
    [
        ("asyncio", "/sleep/60", "helper", "GET /sleep/{seconds}"),
        ("uvloop", "/long-gil", "long-gil", "GET /long-gil"),
    ],
)
def test_a_kill_in_the_middle_leaves_line_route_and_seconds(
    serve: Serve, loop: str, path: str, mark: str, route: str
) -> None:
    server = serve("--loop", loop)
    observer_of(server)
    server.wait_events("alive")  # the table of routes is there by then
    in_background(server, path)
    began = server.wait_began(line_of(mark))
    assert began["route"] == route
    time.sleep(0.5)
    os.kill(server.process.pid, signal.SIGKILL)
    killed = server.wait_events("killed")[0]
    assert (killed["site"]["line"], killed["route"]) == (line_of(mark), route)
    assert killed["duration_s"] >= began["duration_s"] + 0.4
    assert killed["monotonic"] == began["monotonic"]
    # On a busy machine the environment may have stalled the loop before.
    assert began["monotonic"] not in [event["monotonic"] for event in server.events("stall_ended")]
    assert not server.events("stopped")


def test_the_cause_tells_waiting_from_computing(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    server.get("/sleep/0.4")
    server.get("/gil")
    sleeping, computing = server.wait_stall(line_of("helper")), server.wait_stall(line_of("gil"))
    assert sleeping["cause"]["syscall_s"] > 2 * sleeping["cause"]["cpu_s"]
    assert computing["cause"]["cpu_s"] > computing["cause"]["syscall_s"]
    assert sleeping["blame"] == "code"
    assert sleeping["call"] == "time.sleep"


def test_a_thread_that_holds_the_gil_is_named_while_the_loop_only_waits(serve: Serve) -> None:
    server = serve("--loop", "uvloop")
    observer_of(server)
    server.wait_events("alive")
    server.get("/thread")  # the first thread of the pool imports what it needs
    server.get("/thread-gil")
    stall = server.wait_stall(line_of("thread-gil"))
    assert (stall["route"], stall["route_proof"]) == ("GET /thread-gil", "table")
    assert stall["cause"]["gil_s"] > stall["cause"]["cpu_s"]


def test_a_stopped_process_is_not_blamed_on_the_code(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    os.kill(server.process.pid, signal.SIGSTOP)
    server.wait_events("stall_began")
    time.sleep(0.7)
    os.kill(server.process.pid, signal.SIGCONT)
    ended = max(server.wait_events("stall_ended"), key=lambda e: float(e["duration_s"]))
    assert ended["blame"] == "environment"
    assert ended["cause"]["suspended_s"] > 0.5 * ended["duration_s"]
    assert server.get("/health") == 200


def test_an_observer_that_dies_comes_back_and_no_stall_is_lost(serve: Serve) -> None:
    server = serve()
    first = observer_of(server)
    os.kill(first, signal.SIGKILL)
    server.get("/sleep/1.5")  # long enough for a machine that takes a second to start a process
    server.wait_stall(line_of("helper"))
    second = observer_of(server)
    assert second != first
    server.get("/sleep/0.3")
    server.wait_stall(line_of("helper"), 2)


def test_an_observer_killed_in_a_stall_is_replaced_as_the_teller(serve: Serve) -> None:
    server = serve()
    observer = observer_of(server)
    in_background(server, "/sleep/2.5")
    server.wait_began(line_of("helper"))
    os.kill(observer, signal.SIGKILL)
    ended = server.wait_stall(line_of("helper"))
    assert ended["duration_s"] >= 2.4
    assert len([e for e in server.events("stall_began") if e["monotonic"] == ended["monotonic"]]) == 1


def test_without_an_observer_the_thread_sees_line_route_and_cause(serve: Serve) -> None:
    server = serve(UNSTALL_OBSERVER="0")
    server.get("/sleep/0.4")
    ended = server.wait_stall(line_of("helper"))
    assert ended["route"] == "GET /sleep/{seconds}"
    assert ended["cause"]["syscall_s"] > ended["cause"]["cpu_s"]
    assert children(server.process.pid) == []


def test_the_observer_ends_with_the_app(serve: Serve) -> None:
    server = serve()
    observer = observer_of(server)
    server.stop()
    wait_for(lambda: not Path(f"/proc/{observer}").exists(), 60, lambda: "the observer is still there")


def test_the_next_start_tells_of_a_stall_that_nobody_saw_end(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    observer = observer_of(server)
    in_background(server, "/sleep/60")
    server.wait_events("stall_update")
    # The whole container at once, as when PID 1 dies.
    os.kill(observer, signal.SIGKILL)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert not server.events("killed")
    successor = serve(UNSTALL_RECORD=str(server.record))
    killed = server.wait_events("killed")
    assert len(killed) == 1
    assert killed[0]["pid"] == server.process.pid
    assert killed[0]["told_by"] == successor.process.pid
    assert killed[0]["duration_s"] >= 1


def test_a_signal_that_the_app_takes_for_itself_is_never_sent(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    server.get("/taken-signal")
    time.sleep(0.5)  # ten beats
    server.get("/sleep/0.4")
    server.wait_events("stall_ended")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/signalled") as answer:
        assert answer.read() == b'{"signalled":false}'


def test_a_forked_child_is_not_signalled_and_does_not_disturb_its_parent(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    server.get("/fork")
    server.get("/sleep/0.3")
    time.sleep(0.7)
    server.wait_stall(line_of("helper"))
    assert len(server.events("started")) == 1
    assert {e["pid"] for e in server.events()} == {server.process.pid}


def test_the_termination_message_names_the_line_during_the_stall_and_is_taken_back(
    serve: Serve, tmp_path: Path
) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    server = serve(UNSTALL_TERMINATION_LOG=str(message))
    observer_of(server)
    in_background(server, "/sleep/1")
    wait_for(lambda: message.stat().st_size > 0, 60, lambda: "no message")
    text = message.read_text()
    assert f"stalling.py:{line_of('helper')} deepest" in text
    assert "GET /sleep/{seconds}" in text
    server.wait_events("stall_ended")
    wait_for(lambda: message.stat().st_size == 0, 60, lambda: "the message stays")
    server.stop()
    assert f"stalling.py:{line_of('helper')} deepest" in message.read_text()


def test_one_line_on_stderr_while_it_lasts_and_one_in_the_log_after(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    for _ in range(3):
        server.get("/sleep/0.3")
    server.wait_stall(line_of("helper"), 3)

    def lines_here() -> list[str]:
        return [line for line in server.log.read_text().splitlines() if f"stalling.py:{line_of('helper')} " in line]

    wait_for(lambda: len(lines_here()) >= 2, 60, lambda: server.log.read_text())
    lines = lines_here()
    assert len(lines) == 2, lines
    assert "so far  GET /sleep/{seconds}  stalling.py:" in lines[0]
    assert "time.sleep" in lines[1]


def test_sigterm_in_a_stall_ends_as_without_us(serve: Serve) -> None:
    """uvicorn finishes the request, then ends by the signal it has captured."""
    server = serve()
    observer_of(server)
    in_background(server, "/sleep/1")
    server.wait_began(line_of("helper"))
    assert server.stop() == -signal.SIGTERM
    assert server.wait_stall(line_of("helper"))["duration_s"] >= 0.99
    assert server.events("stopped")


def test_an_unusable_interpreter_leaves_the_thread_and_one_sentence(tmp_path: Path) -> None:
    import asyncio
    import logging

    from unstall.runtime.settings import settings_from
    from unstall.runtime.watcher import Watch

    said: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    async def scene() -> None:
        settings = settings_from(record=str(tmp_path / "r.jsonl"), observer=True)._replace(signal=0)
        watch = Watch(asyncio.get_running_loop(), None, settings)
        watch.ready()
        for _ in range(400):
            await asyncio.sleep(0.01)
            if said:
                break
        time.sleep(0.25)
        await asyncio.sleep(0.3)
        watch.stop()

    heard, log, executable = Heard(), logging.getLogger("unstall"), sys.executable
    log.addHandler(heard)
    sys.executable = "/nonexistent/python"
    try:
        asyncio.run(scene())
    finally:
        sys.executable = executable
        log.removeHandler(heard)
    assert [text for text in said if "cannot start" in text] == [
        "the observer process cannot start; watching from a thread instead"
    ]
    assert "stall_ended" in (tmp_path / "r.jsonl").read_text()
