"""What single records say: probe messages, server logs and termination messages, each by a table of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unstall import units
from unstall.model import ProbeType
from unstall.probe.cluster import Event, moment_of


class Answer(StrEnum):
    """How a failed probe was answered."""

    SILENCE = "no answer in time"
    REFUSED = "connection refused"
    RESET = "connection reset"
    WRONG = "answered: no such path or not allowed"
    UNHEALTHY = "answered: not healthy"
    BROKEN = "cannot be asked"
    OTHER = "failed"


# Text of a failed probe -> what it means. Order matters: the first match wins. A status is read from group 1.
_ANSWERS: tuple[tuple[str, Answer | None], ...] = (
    (r"failed with statuscode: (\d+)", None),
    (r"requested URL returned error: (\d+)|HTTP/[12](?:\.\d)?\"? ([45]\d\d)|HTTPError: HTTP Error (\d+)", None),
    (r"server gave HTTP response to HTTPS client|malformed HTTP|tls: first record does not look", Answer.BROKEN),
    (r"stopped after \d+ redirects|executable file not found|unknown service|Unimplemented", Answer.BROKEN),
    (r"exec format error|[Pp]ermission denied|couldn't find port|no such host", Answer.BROKEN),
    (r"NOT_SERVING", Answer.UNHEALTHY),
    (r"curl: \(28\)|Timeout was reached", Answer.SILENCE),
    (r"[Cc]onnection refused|Failed to connect to|Couldn't connect|ConnectionRefusedError", Answer.REFUSED),
    (r"connection reset by peer|Recv failure|ConnectionResetError|: EOF$", Answer.RESET),
    (r"Client\.Timeout exceeded|context deadline exceeded|i/o timeout|DeadlineExceeded", Answer.SILENCE),
    (r"command timed out|timed out after|[Oo]peration timed out|TimeoutError|timed out", Answer.SILENCE),
)

_PROBE = re.compile(r"(Liveness|Readiness|Startup) probe (failed|errored(?: and resulted in \w+ state)?): ?(.*)", re.S)


@dataclass(frozen=True, slots=True)
class Miss:
    """A failed probe as an event told it. ``status`` is the HTTP status where one was answered."""

    type: ProbeType
    answer: Answer
    count: int
    first_at: float
    last_at: float
    text: str
    status: int | None = None


def miss(event: Event) -> Miss | None:
    """Read an ``Unhealthy`` event; None for any other."""
    found = _PROBE.match(event.message) if event.reason in ("Unhealthy", "ProbeError") else None
    if found is None:
        return None
    answer, status = _answer(found[3])
    type = ProbeType(found[1].lower())
    return Miss(type, answer, event.count, event.first_at, event.last_at, found[3].strip(), status)


def _answer(text: str) -> tuple[Answer, int | None]:
    for pattern, answer in _ANSWERS:
        found = re.search(pattern, text)
        if found is None:
            continue
        if answer is not None:
            return answer, None
        status = int(next(group for group in found.groups() if group))
        return judge_status(status), status
    return Answer.OTHER, None


def judge_status(status: int) -> Answer:
    """What a failing HTTP status says: the path is wrong, or the app says it is not healthy."""
    return Answer.UNHEALTHY if status >= 500 or status in (408, 425, 429) else Answer.WRONG


_KILL = re.compile(r"(?:[Cc]ontainer (?P<a>\S+) failed|[Cc]ontainer failed) (?P<probe>liveness|startup) probe")


def probe_that_killed(event: Event) -> ProbeType | None:
    """Which probe a ``Killing`` event names; None for a deletion or any other event.

    Servers before 1.13 wrote ``Killing container with id docker://app:Container failed liveness probe..``.
    """
    found = _KILL.search(event.message) if event.reason == "Killing" else None
    return ProbeType(found["probe"]) if found else None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A stall as a recorder in the process wrote it down; ``environment`` is true where the code is not to
    blame (throttled, suspended)."""

    seconds: float | None
    route: str = ""
    site: str = ""
    call: str = ""
    environment: bool = False
    throttled_s: float = 0.0

    def __str__(self) -> str:
        long = f" {units.seconds(self.seconds)}" if self.seconds is not None else ""
        where = "  ".join(word for word in (self.route, self.site, self.call) if word)
        return f"loop blocked{long}  {where}".rstrip()


def blocked(message: str) -> Blocked | None:
    """The newest stall in a termination message or a log; the first line of either may be cut, so the search
    begins at the end. None where there is none."""
    for line in reversed(message.splitlines()):
        start = line.find("{")
        if start >= 0 and ("unstall" in line or "stall" in line or "loop_blocked" in line):
            try:
                record = json.loads(line[start:])
            except ValueError:
                continue
            found = _stall(record) if isinstance(record, dict) else None
            if found:
                return found
        told = _TOLD.search(line)
        if told:
            return Blocked(_seconds(told["long"]), (told["route"] or "").strip(), told["site"])
    return None


_TOLD = re.compile(
    r"event loop blocked(?: \([^)]*\)| when the process died,)?\s+(?P<long>[\d.,]+ (?:ms|s|min))(?: so far| into it)?"
    r"\s+(?P<route>[A-Z]+ /\S*)?\s*(?P<site>\S+:\d+(?: in \S+)?)"
)


def _seconds(text: str) -> float:
    number, unit = text.replace(",", "").split()
    return float(number) * {"ms": 1e-3, "s": 1.0, "min": 60.0}[unit]


def _stall(record: dict[str, Any]) -> Blocked | None:
    if record.get("event") in ("started", "alive", "stopped", "stall_ended"):
        return None
    length = record.get("duration_s", record.get("loop_blocked_s"))
    if not isinstance(length, int | float) and "event" not in record:
        return None
    site, cause = record.get("site"), record.get("cause")
    if isinstance(site, dict):
        function = f" in {site['function']}" if site.get("function") else ""
        site = f"{site.get('path', '?')}:{site.get('line', '?')}{function}"
    throttled = cause.get("throttled_s") if isinstance(cause, dict) else None
    return Blocked(
        float(length) if isinstance(length, int | float) else None,
        str(record.get("route") or ""),
        str(site or ""),
        str(record.get("call") or record.get("rule") or ""),
        record.get("blame") == "environment" or cause in ("throttled", "cpu-throttled"),
        float(throttled) if isinstance(throttled, int | float) else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Access:
    """One access line. ``at`` is known only where the log carries kubectl's time stamps."""

    method: str
    path: str
    status: int
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """What the log of one instance says. ``server`` is true where the server's own lines are in it, so that
    a line it always writes at SIGTERM is missing only if SIGTERM was never handled."""

    lines: int
    cut: bool = False
    """Only its last lines were read: how it began is not known."""
    server: bool = False
    first_process: bool = False
    """The server is process 1 of its container, so SIGTERM reaches it without a shell in between."""
    workers: int = 0
    workers_shut: int = 0
    started: bool = False
    listens: tuple[str, int] | None = None
    shutting_down: bool = False
    shut_at: float | None = None
    waiting: bool = False
    finished: bool = False
    failed_start: bool = False
    worn_out: bool = False
    """The server reached its own limit of requests and ended itself."""
    workers_died: int = 0
    error: str = ""
    access: tuple[Access, ...] = ()
    before_shutdown: int = 0
    """How many of the access lines stand before the shutdown."""
    stall: Blocked | None = None
    """The newest stall told in it."""
    stall_at: int = 0
    """How many access lines stand before that stall."""

    def answers(self, path: str) -> list[int]:
        """The statuses answered on one path, in order."""
        return [line.status for line in self.access if line.path.split("?")[0] == path.split("?")[0]]


_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?(.*)$", re.S)
_ACCESS = re.compile(r"\"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+)(?: HTTP/[\d.]+)?\\?\" (\d{3})\b")
_LISTENS = re.compile(r"(?:running on|Listening at:?) https?://(\[[^\]]+\]|[^\s:/]+):(\d+)")
_ERROR = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Iteration)|[\w.]+Error)\b(?::.*)?$")
# uvicorn, hypercorn and gunicorn's uvicorn worker: what each always writes.
_SERVER = re.compile(r"Started server process|Application startup complete|running on http|Waiting for application")
_PROCESS = re.compile(r"Started (server|parent) process (\[\d+\])")
# gunicorn's master writes one too, whether its worker's loop turns or not.
_SHUTTING = re.compile(r"\bShutting down\b(?! the|: Master)")


LINES_READ = 2000
"""How many of a log's last lines are asked for."""


def read_log(text: str) -> Log:
    """Read the log of one instance. One that answered requests had begun, also where its beginning is cut off."""
    access: list[Access] = []
    seen: dict[str, Any] = {}
    error, lines, before, died = "", 0, 0, 0
    begun, shut = set[str](), 0
    for line in text.splitlines():
        lines += 1
        stamp = _STAMP.match(line)
        at = moment_of(stamp[1]) if stamp else None
        line = stamp[2] if stamp else line
        asked = _ACCESS.search(line)
        if asked:
            access.append(Access(asked[1], asked[2], int(asked[3]), at))
            continue
        for name, pattern in _LINES:
            if pattern.search(line):
                seen.setdefault(name, at)
        if "shutting_down" in seen and "before" not in seen:
            seen["before"], before = True, len(access)
        listens = _LISTENS.search(line)
        if listens:
            seen["listens"] = (listens[1].strip("[]"), int(listens[2]))
        told = blocked(line) if "stall" in line or "blocked" in line else None
        if told is not None:
            seen["stall"], seen["stall_at"] = told, len(access)
        process = _PROCESS.search(line)
        begun |= {process[1] + process[2]} if process else set()
        shut += bool(_SHUTTING.search(line))
        died += "Child process" in line and "died" in line
        error = line.strip() if _ERROR.match(line.strip()) else error
    return Log(
        lines,
        cut := lines >= LINES_READ,
        "server" in seen or (cut and bool(access)),
        any(process.endswith("[1]") for process in begun),
        sum(process.startswith("server") for process in begun),
        shut,
        "started" in seen or (cut and bool(access)),
        seen.get("listens"),
        "shutting_down" in seen,
        seen.get("shutting_down"),
        "waiting" in seen,
        "finished" in seen,
        "failed_start" in seen,
        "worn_out" in seen,
        died,
        error,
        tuple(access),
        before if "shutting_down" in seen else len(access),
        seen.get("stall"),
        seen.get("stall_at", 0),
    )


_LINES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("server", _SERVER),
    ("started", re.compile(r"Application startup complete|[Uu]vicorn running on|running on http")),
    ("shutting_down", _SHUTTING),
    ("waiting", re.compile(r"Waiting for (?:connections|background tasks) to (?:close|complete)")),
    ("finished", re.compile(r"Finished server process")),
    ("worn_out", re.compile(r"Maximum request limit of \d+ exceeded")),
    ("failed_start", re.compile(r"Application startup failed")),
)


def total(misses: Iterable[Miss], *answers: Answer) -> int:
    """How many of the misses were of one of these answers (a lower bound, as events are)."""
    return sum(one.count for one in misses if one.answer in answers)
