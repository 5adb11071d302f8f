"""The record as its readers know it: every event with every field, whoever had to write it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.runtime.conftest import Server, line_of, wait_for
from tests.runtime.test_observer import in_background, observer_of

from unstall.runtime.evidence import Episode, Sample
from unstall.runtime.recorder import Recorder
from unstall.runtime.sinks.log import log_stall
from unstall.runtime.story import Limit

Serve = Callable[..., Server]

SECONDS = {"type": "number", "minimum": 0}
WHO = {"host": {"type": "string"}, "pid": {"type": "integer"}, "worker": {"type": "integer"}}
FRAME = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "line": {"type": "integer"}, "function": {"type": "string"}},
    "required": ["path", "line", "function"],
}
CAUSES = ("cpu_s", "syscall_s", "lock_s", "gil_s", "gc_s", "run_queue_s", "throttled_s", "suspended_s")
STALL = {
    **WHO, "schema": {"const": 1}, "started_at": SECONDS, "duration_s": SECONDS, "threshold_s": SECONDS,
    "site": {"anyOf": [FRAME, {"type": "null"}]}, "stack": {"type": "array", "items": FRAME},
    "route": {"type": ["string", "null"]},
    "route_proof": {"enum": ["frame", "task", "callback", "table", None]},
    "in_flight": {"type": "array", "items": {"type": "string"}}, "rule": {"type": ["string", "null"]},
    "cause": {"type": "object", "properties": dict.fromkeys(CAUSES, SECONDS), "required": list(CAUSES)},
    "blame": {"enum": ["code", "environment"]},
}  # fmt: skip
LIFE = {
    **WHO, "schema": {"const": 1}, "started_at": SECONDS, "threshold_s": SECONDS, "version": {"type": "string"},
    "loop": {"enum": ["asyncio", "uvloop"]}, "workers": {"type": ["integer", "null"]},
    "ready_after_s": {"type": ["number", "null"]}, "watched_s": SECONDS, "stalls": {"type": "integer"},
    "stalled_s": SECONDS,
}  # fmt: skip
EVENTS = dict.fromkeys(("stall_began", "stall_update", "stall_ended", "killed"), STALL) | dict.fromkeys(
    ("started", "alive", "stopped"), LIFE
)


def check(event: dict[str, Any]) -> None:
    fields = EVENTS[event["event"]]
    jsonschema.validate(event, {"type": "object", "properties": fields, "required": list(fields)})


def test_each_event_has_the_fields_that_readers_rely_on(serve: Serve) -> None:
    server = serve()
    observer_of(server)
    server.wait_events("alive")
    server.get("/sleep/1.6")
    server.wait_stall(line_of("helper"))
    in_background(server, "/sleep/60")
    wait_for(lambda: len(server.events("stall_update")) > 1, 60, lambda: str(server.events()))
    os.kill(server.process.pid, signal.SIGKILL)
    killed = server.wait_events("killed", timeout_s=60)[0]
    for event in server.events():
        check(event)
    assert {e["event"] for e in server.events()} == set(EVENTS) - {"stopped"}
    assert killed["site"]["line"] == line_of("helper")
    assert killed["duration_s"] >= 1


def test_a_server_without_lifespan_has_a_start_a_route_table_and_an_end(serve: Serve, tmp_path: Path) -> None:
    """uvicorn dies of the signal without telling the app; the observer has the last word."""
    message = tmp_path / "termination-log"
    message.touch()
    server = serve("--lifespan", "off", UNSTALL_TERMINATION_LOG=str(message))
    observer_of(server)
    server.wait_events("alive", timeout_s=60)
    server.get("/sleep/0.3")
    assert server.wait_stall(line_of("helper"))["route"] == "GET /sleep/{seconds}"
    server.stop()
    stopped = server.wait_events("stopped", timeout_s=60)[0]
    check(stopped)
    assert stopped["stalls"] >= 1
    assert stopped["watched_s"] > stopped["stalled_s"] >= 0.25
    wait_for(lambda: "deepest" in message.read_text(), 60, lambda: "no last words")


def test_a_clock_that_is_set_in_a_stall_does_not_move_its_start(tmp_path: Path) -> None:
    code = """
import time
from unstall.runtime.evidence import Episode
from unstall.runtime.recorder import Recorder
from unstall.runtime.story import Story

story = Story({"host": "h", "pid": 1, "worker": 0}, Recorder("r.jsonl", print), "off", "")
episode = Episode(time.monotonic(), 0.1)
story.began(episode, time.monotonic())
real = time.time
time.time = lambda: real() - 86_400
story.ended(episode, 0.2)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    began, ended = (json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert (began["event"], ended["event"]) == ("stall_began", "stall_ended")
    assert began["started_at"] == ended["started_at"]


def test_a_rotated_record_begins_with_what_was_watched_so_far(tmp_path: Path) -> None:
    totals = {"schema": 1, "event": "alive", "watched_s": 12.5, "stalls": 3, "stalled_s": 1.5}
    recorder = Recorder(str(tmp_path / "r.jsonl"), pytest.fail, lambda: totals, limit_bytes=400)
    for _ in range(20):
        recorder.write({"pad": "." * 50})
    recorder.close()
    assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0]) == totals
    assert "pad" in (tmp_path / "r.jsonl.1").read_text()


def test_the_log_entry_carries_its_fields_as_plain_types_and_counts_what_it_held_back() -> None:
    """What a JSON formatter or structlog's `ExtraAdder` takes from an entry is whatever is not standard on it."""
    entries: list[logging.LogRecord] = []
    log = logging.Logger("unstall")
    log.addFilter(lambda entry: bool(entries.append(entry)))  # type: ignore[func-returns-value]
    episode, limit = Episode(1.0, 0.1), Limit()
    episode.add(Sample(1.1, (("/app/pay.py", 3, "pay", True),), "GET /a", "frame", "time.sleep"))
    episode.rule, episode.cause = "UNS101", {"cpu_s": 0.01, "syscall_s": 0.29}
    event = episode.event("stall_ended", 0.3, 1000.0, {"host": "h", "pid": 1, "worker": 0})
    for now in (0.0, 1.0, 2.0, 61.0):
        log_stall(log, limit, event, now)
    standard = vars(logging.makeLogRecord({}))
    fields = [{key: value for key, value in vars(entry).items() if key not in standard} for entry in entries]
    assert [entry["stall_not_logged"] for entry in fields] == [0, 2]
    assert json.loads(json.dumps(fields[0])) == fields[0]
    assert {key: fields[0]["stall_" + key] for key in ("duration_s", "route", "route_proof", "rule", "call", "blame")} == {
        "duration_s": 0.3, "route": "GET /a", "route_proof": "frame", "rule": "UNS101", "call": "time.sleep", "blame": "code",
    }  # fmt: skip
    assert fields[0]["stall_site"] == {"path": "/app/pay.py", "line": 3, "function": "pay", "own": True}
    assert (
        entries[0].getMessage()
        == "event loop blocked 0.30 s  GET /a  /app/pay.py:3 in pay  time.sleep  UNS101  waiting 0.29 s"
    )
