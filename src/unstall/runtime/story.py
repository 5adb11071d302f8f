"""Telling of stalls: the record, one line on stderr, the pod's termination message."""

from __future__ import annotations

import os
import time

from unstall.runtime.evidence import Episode
from unstall.runtime.recorder import to_json, try_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unstall.runtime.recorder import Recorder

LINES_EVERY_S = 60.0
LATE_MESSAGE_S = 120.0
MESSAGE_BYTES = 4096


class Story:
    """Tells each stall once to each place. ``who`` are the fields that say which process it is."""

    def __init__(self, who: dict[str, Any], recorder: Recorder, log_format: str, termination_log: str) -> None:
        self.who = who
        self.recorder = recorder
        self.log_format = log_format
        self.message = TerminationMessage(termination_log)
        self.hear: Callable[[dict[str, Any]], None] | None = None
        """Called with every record of a stall, as told."""
        self.limit = Limit()
        self._last: tuple[float, dict[str, Any]] | None = None

    def began(self, episode: Episode, now: float) -> None:
        """Evidence first, durable before anything else is done with it."""
        record = self._record("stall_began", episode, now - episode.start)
        self.recorder.write(record, durable=True)
        self.message.put(record)
        self._line(record, now)
        self._tell(record)

    def update(self, episode: Episode, now: float) -> None:
        """The stall goes on."""
        record = self._record("stall_update", episode, now - episode.start)
        self.recorder.write(record)
        self.message.put(record)
        self._tell(record)

    def ended(self, episode: Episode, duration_s: float) -> None:
        """The stall is over."""
        record = self._record("stall_ended", episode, duration_s)
        self.recorder.write(record)
        self.message.empty()
        self._last = (time.monotonic(), record)
        self._tell(record)

    def killed(self, episode: Episode, duration_s: float) -> None:
        """The process died in the middle; the message stays."""
        record = self._record("killed", episode, duration_s)
        self.recorder.write(record, durable=True)
        self.message.put(record)
        self._write(f"event loop blocked when the process died, {duration_s:.2f} s into it", record)

    def last_words(self, now: float) -> None:
        """The process ends: a stall of the last minutes may be why, so the termination message names it."""
        if self._last is not None and now - self._last[0] < LATE_MESSAGE_S:
            self.message.put(self._last[1])

    def _tell(self, record: dict[str, Any]) -> None:
        if self.hear is not None:
            self.hear(record)

    def _record(self, event: str, episode: Episode, duration_s: float) -> dict[str, Any]:
        episode.told_s = duration_s
        if episode.started_at is None:  # once: the wall clock may be set while the stall lasts
            episode.started_at = time.time() - (time.monotonic() - episode.start)
        return episode.event(event, duration_s, episode.started_at, self.who)

    def _line(self, record: dict[str, Any], now: float) -> None:
        allowed, hidden = self.limit.allows(site_key(record), now)
        if allowed:
            more = f" (and {hidden} more here since the last line)" if hidden else ""
            self._write(f"event loop blocked{more}", {**record, "not_logged": hidden})

    def _write(self, what: str, record: dict[str, Any]) -> None:
        if self.log_format == "off":
            return
        text = to_json(record) if self.log_format == "json" else f"WARNING unstall  {sentence(what, record)}"
        try_write(2, text.encode("utf-8", "replace") + b"\n")


class Limit:
    """At most one line per site and minute; the rest is counted."""

    def __init__(self, every_s: float = LINES_EVERY_S) -> None:
        self._every_s = every_s
        self._told: dict[str, tuple[float, int]] = {}

    def allows(self, site: str, now: float) -> tuple[bool, int]:
        """Whether to write a line for this site now, and how many were held back since the last."""
        at, hidden = self._told.get(site, (float("-inf"), 0))
        if now - at < self._every_s:
            self._told[site] = (at, hidden + 1)
            return False, 0
        if len(self._told) > 1000:
            self._told.clear()
        self._told[site] = (now, 0)
        return True, hidden


class TerminationMessage:
    """Kubernetes shows this file's first 4,096 bytes after the container ended. Written only where it exists."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mine = b""

    def put(self, record: dict[str, Any]) -> None:
        """Replace the message."""
        short = {key: record.get(key) for key in _IN_MESSAGE}
        stack = [line for line in record["stack"] if line["own"]] or record["stack"]
        frames = [f"{line['path']}:{line['line']} {line['function']}" for line in stack]
        data = b""
        for count in range(min(len(frames), 20), -1, -1):
            data = to_json({"unstall": "event loop blocked", **short, "stack": frames[:count]}).encode() + b"\n"
            if len(data) <= MESSAGE_BYTES:
                break
        self._write(data[:MESSAGE_BYTES])

    def empty(self) -> None:
        """Take our message back, unless somebody else has written since."""
        if self._mine:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        if not self.path:
            return
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not data and os.read(fd, MESSAGE_BYTES + 1) != self._mine:
                return
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
            self._mine = data
        except OSError:
            pass
        finally:
            os.close(fd)


_IN_MESSAGE = (
    "event", "pid", "worker", "started_at", "duration_s", "site", "call", "rule", "remedy",
    "route", "route_proof", "in_flight", "cause", "blame",
)  # fmt: skip


def site_key(record: dict[str, Any]) -> str:
    """What makes two stalls the same for the rate limit."""
    where = record.get("site")
    return f"{where['path']}:{where['line']}" if where else str(record.get("route"))


def sentence(what: str, record: dict[str, Any]) -> str:
    """One stall in one line: what, request, where, why, what to do."""
    parts = [what]
    if record["event"] == "stall_began":
        parts.append(f"{record['duration_s']:.2f} s so far")
    if record.get("route"):
        parts.append(record["route"])
    where = record.get("site")
    if where:
        path = where["path"]
        here = os.path.join(os.getcwd(), "")
        parts.append(f"{path.removeprefix(here)}:{where['line']} in {where['function']}")
    if record.get("blame") == "environment":
        taken = {name: record["cause"].get(name) for name in ("throttled_s", "run_queue_s", "suspended_s")}
        parts.append("not the code: " + (largest(taken, tuple(taken)) if any(taken.values()) else "woken up late"))
    elif record.get("call"):
        parts.append(record["call"])
    if record.get("rule"):
        parts.append(f"{record['rule']}: {record['remedy']}" if record.get("remedy") else record["rule"])
    return "  ".join(parts)


_WORDS = {
    "throttled_s": "the CPU limit",
    "run_queue_s": "no free processor",
    "suspended_s": "the process was stopped",
    "cpu_s": "CPU",
    "syscall_s": "waiting",
    "lock_s": "a lock",
    "gil_s": "the GIL",
    "gc_s": "garbage collection",
}


def largest(cause: dict[str, float | None], names: tuple[str, ...] = tuple(_WORDS)) -> str:
    """The cause that took most, in words with its seconds."""
    name = max(names, key=lambda n: cause.get(n) or 0.0)
    return f"{_WORDS[name]} {cause.get(name) or 0.0:.2f} s"
