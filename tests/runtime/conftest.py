"""Real servers in their own processes, watched, with what they recorded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unstall.runtime.inject import environment

APPS = Path(__file__).parent / "apps"


class Server:
    """A watched server in its own process group."""

    def __init__(
        self, record: Path, arguments: list[str], port: int, extra: dict[str, str], program: str = sys.executable
    ) -> None:
        self.record, self.port = record, port
        self.log = record.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, *arguments],
                cwd=APPS,
                env={**os.environ, **environment(record, 0.1), **extra},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str, timeout_s: float = 60) -> int:
        """The status of one request."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout_s) as answer:
            answer.read()
            return int(answer.status)

    def wait_ready(self) -> None:
        """Until it answers."""
        wait_for(lambda: self._answers(), 90, lambda: f"no answer: {self.log.read_text()}")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/health", 2) == 200
        except OSError:
            return False

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What was recorded so far, of these names only where any are given."""
        if not self.record.exists():
            return []
        # A reader may see a write half done, where it crosses a page: the last line counts once it has its end.
        *whole, _ = self.record.read_text().split("\n")
        lines = [json.loads(line) for line in whole]
        return [line for line in lines if not names or line["event"] in names]

    def wait_events(self, name: str, count: int = 1, timeout_s: float = 60) -> list[dict[str, Any]]:
        """The events of one name once there are ``count``."""
        wait_for(lambda: len(self.events(name)) >= count, timeout_s, lambda: f"no {name}: {self.events()}")
        return self.events(name)

    def wait_began(self, line: int, timeout_s: float = 60) -> dict[str, Any]:
        """The first evidence of a stall at this line of the app."""

        def at_line() -> list[dict[str, Any]]:
            return [e for e in self.events("stall_began") if e["site"] and e["site"]["line"] == line]

        wait_for(lambda: len(at_line()) >= 1, timeout_s, lambda: f"none at {line}: {self.events()}")
        return at_line()[0]

    def wait_stall(self, line: int, count: int = 1, timeout_s: float = 60) -> dict[str, Any]:
        """The stall that ended at this line of the app; on a busy machine an import may stall on its own."""

        def at_line() -> list[dict[str, Any]]:
            return [e for e in self.events("stall_ended") if e["site"] and e["site"]["line"] == line]

        wait_for(lambda: len(at_line()) >= count, timeout_s, lambda: f"no stall at {line}: {self.events()}")
        return at_line()[-1]

    def stop(self) -> int:
        """SIGTERM and the exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """Kill what is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def wait_for(true: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Until it holds, at most ``timeout_s`` seconds."""
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.02)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def line_of(mark: str, app: str = "stalling.py") -> int:
    """The line of a test app that says ``STALLS: mark``."""
    lines = (APPS / app).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"STALLS: {mark}"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a watched server; all are ended with the test."""
    servers: list[Server] = []

    def start(*options: str, app: str = "stalling:app", ready: bool = True, **extra: str) -> Server:
        port = free_port()
        arguments = ["-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", *options]
        server = Server(tmp_path / f"record{len(servers)}.jsonl", arguments, port, extra)
        servers.append(server)
        if ready:
            server.wait_ready()
        return server

    yield start
    for server in servers:
        server.close()


SHORT_SOAK = "test_nothing_is_lost_invented_or_leaked[120]"


@pytest.fixture(scope="session", autouse=True)
def soak_meanwhile(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str] | None]:
    """The soak of two minutes, mostly waiting, runs beside the other tests of this part where these are many."""
    items = [item for item in request.session.items if "tests/runtime" in item.nodeid]
    soak = [item for item in items if item.name == SHORT_SOAK]
    if not soak or len(items) < 50:
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", soak[0].nodeid],
        cwd=request.config.rootpath,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    with process:
        process.communicate(timeout=90)
