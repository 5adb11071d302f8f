"""What a process that was killed in a stall, with its observer, could not write: its successor does."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import Any

from unstall.runtime.cause import start_ticks
from unstall.runtime.recorder import Recorder

TAIL_BYTES = 1_000_000
_OPEN = ("stall_began", "stall_update")
_CLOSED = ("stall_ended", "killed", "stopped", "started")


def close_open_stalls(recorder: Recorder, who: dict[str, Any]) -> None:
    """Write ``killed`` for every stall in the record whose process on this host is no more. Never raises."""
    if not recorder.path:
        return
    try:
        with open(recorder.path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            for event in open_stalls(file.read(TAIL_BYTES).splitlines(), str(who["host"])):
                event = {**event, "event": "killed", "told_by": who["pid"], "recorded_at": time.time()}
                recorder.write(event, durable=True)
    except OSError:
        return


def open_stalls(lines: list[bytes], host: str) -> list[dict[str, Any]]:
    """The last word on each stall of a dead process: its seconds are those it was seen to last at least."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for line in lines:
        try:
            event = json.loads(line)
            key = int(event["pid"]), int(event.get("process", 0))
            name = event["event"]
        except (ValueError, TypeError, KeyError):
            continue
        if event.get("host") != host:
            continue
        if name in _OPEN:
            found[key] = event
        elif name in _CLOSED:
            found.pop(key, None)
    return [event for (pid, ticks), event in found.items() if start_ticks(pid) != ticks or not ticks]
