"""The proof in running servers: the same answers, and the runtime's own heartbeat no longer stops."""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fix_cases import FIXED

HOLD_S = 0.5
LIMIT_S = 0.1
MOST_PASSES = 5
DEADLINE_S = 90.0
# Raises on a running loop: it neither answers nor blocks before it is fixed.
NO_ANSWER_BEFORE = {"run_awaited"}
# One of every kind of rewrite.
EACH_KIND = {
    "sleep_awaited", "run_awaited", "def_endpoint", "def_dependency", "offload_keywords", "offload_to_thread", "helper_two_below",
    "offload_condition", "middleware_offloaded", "with_open_value", "with_connection", "with_lock", "cursor_materialised",
    "session_block", "session_values",
}  # fmt: skip
NOT_THE_CODE = ("run_queue_s", "throttled_s", "suspended_s")
"""Of a stall's time, what the machine took: on a busy one every process waits for its turn."""

Answer = tuple[int, list[tuple[str, str]], bytes]


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket: no port to race for."""

    def __init__(self, place: str) -> None:
        super().__init__("case", timeout=DEADLINE_S)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self._place)


def requests_of(case: Path) -> list[tuple[str, str]]:
    """What an app is asked, as its file says; one request where it is a `main` and no app."""
    for node in ast.parse(case.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUESTS":
            return list(ast.literal_eval(node.value))
    return [("GET", "/")]


@dataclass
class Server:
    """A server of many apps, started as `unstall run` starts it."""

    place: str
    record: Path
    watched: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def ask(self, method: str, path: str) -> Answer:
        """One request on a connection of its own."""
        connection = Connection(self.place)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            headers = sorted((name, value) for name, value in answer.getheaders() if name != "date")
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def replay(self, case: Path) -> list[Answer]:
        """All requests of an app; when they began and ended is kept."""
        requests = requests_of(case)
        began = time.monotonic()
        answers = [self.ask(method, f"/{case.stem}{url}") for method, url in requests]
        self.watched.setdefault(case.stem, []).append((began, time.monotonic()))
        return answers

    def stalls(self) -> list[tuple[float, float, float]]:
        """Start, end and the part that is the code's own of every stall, once the record is complete up to now."""
        now = time.monotonic()
        assert self.ask("GET", "/blocked/")[0] == 204
        deadline = now + DEADLINE_S
        while time.monotonic() < deadline:
            lines = self.record.read_text().splitlines() if self.record.exists() else []
            ended = [event for event in map(_parsed, lines) if event.get("event") == "stall_ended"]
            if any(event["monotonic"] + event["duration_s"] > now for event in ended):
                return [_stall(event) for event in ended]
            time.sleep(0.1)
        raise AssertionError("the watch did not see the loop blocked")

    def longest(self, name: str, stalls: Sequence[tuple[float, float, float]]) -> list[float]:
        """For each replay of an app, the longest stall of the loop meanwhile."""
        return [
            max((own_s for start, end, own_s in stalls if start < last and end > first), default=0.0)
            for first, last in self.watched[name]
        ]


def _parsed(line: str) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}  # the last line, half written


def _stall(event: dict[str, Any]) -> tuple[float, float, float]:
    environment_s = sum(event["cause"].get(name) or 0.0 for name in NOT_THE_CODE)
    return event["monotonic"], event["monotonic"] + event["duration_s"], event["duration_s"] - environment_s


@contextlib.contextmanager
def serving(cases: dict[str, Path]) -> Iterator[Server]:
    """A server of these apps, watched from its start to its end."""
    with tempfile.TemporaryDirectory(prefix="beat-") as folder:
        server = Server(f"{folder}/socket", Path(folder, "record.jsonl"))
        os.mkdir(f"{folder}/files")
        files = json.dumps({name: str(path) for name, path in cases.items()})
        process = subprocess.Popen(
            [
                sys.executable, "-m", "unstall", "run", "--record", str(server.record), "--threshold", "0.05", "--log", "off",
                "--", sys.executable, "-m", "uvicorn", "fix_host:app", "--uds", server.place, "--log-level", "critical",
            ],
            cwd=Path(__file__).parent,
            env=os.environ | {"PYTHONHASHSEED": "0", "FIX_HOST_FILES": files, "FIX_HOST_HOLD_S": str(HOLD_S), "FIX_HOST_FOLDER": f"{folder}/files"},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                assert process.poll() is None, "the server ended"
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(server.place)
                    break
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def replayed(cases: Sequence[Path], after: bool) -> tuple[dict[str, list[Answer]], dict[str, list[float]]]:
    """Answers of each app, and its longest stall in each replay; what the machine may have disturbed is replayed again."""
    files = {case.stem: case.with_suffix(".after.py") if after else case for case in cases}
    answers: dict[str, list[Answer]] = {}
    with serving(files) as server:
        left = list(cases)
        for _ in range(MOST_PASSES):
            for case in left:
                answers.setdefault(case.stem, server.replay(case))
            stalls = server.stalls()
            longest = {case.stem: server.longest(case.stem, stalls) for case in cases}
            if after:
                left = [case for case in left if min(longest[case.stem]) >= LIMIT_S]
            else:
                silent = NO_ANSWER_BEFORE
                left = [c for c in left if c.stem not in silent and max(longest[c.stem]) < HOLD_S / 2]
            if not left:
                break
    return answers, longest


def prove(cases: Sequence[Path]) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(replayed, cases, after) for after in (False, True)]
        (before, stalled_before), (after, stalled_after) = (run.result() for run in runs)
    for name in (case.stem for case in cases):
        if name not in NO_ANSWER_BEFORE:
            assert after[name] == before[name], name
            assert max(stalled_before[name]) >= HOLD_S / 2, name
        assert min(stalled_after[name]) < LIMIT_S, (name, stalled_after[name])


def test_each_kind_of_fix_frees_the_loop_and_answers_the_same() -> None:
    cases = [case for case in FIXED if case.stem in EACH_KIND]
    assert len(cases) >= len(EACH_KIND) - 2
    prove(cases)


@pytest.mark.soak
def test_every_fixed_app_frees_the_loop_and_answers_the_same() -> None:
    prove(FIXED)
