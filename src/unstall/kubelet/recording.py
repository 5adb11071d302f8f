"""What flight recorders saw: every stall once, and for how long they watched.

A stall is told of several times while it lasts, by records that share the process and the monotonic second in which it
began; the wall clock's second wanders by a microsecond between them. A life (started, alive, stopped) tells how long
one loop was watched; of a process that was killed its last stall tells of more.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unstall.errors import BadFile, BadInput
from unstall.kubelet.stalls import DAY_S, Resampled

SCHEMA = 1
LIVES = frozenset({"started", "alive", "stopped"})
OF_A_STALL = frozenset({"stall_began", "stall_update", "stall_ended", "killed"})


@dataclass(frozen=True, slots=True)
class Recording:
    """Lengths of the stalls in the order in which they began, and for how long one loop each was watched, all together (None where nobody says).

    ``cut`` stalls were ended by the end of their process: they would have lasted longer. ``lost`` stalls were counted
    by the recorder and are not in the files, having been rotated away; ``watched_s`` is shortened by their share.
    ``hosts`` counts pods or machines, ``workers`` the most server processes one of them had.
    """

    lengths_s: tuple[float, ...]
    watched_s: float | None
    cut: int = field(default=0, compare=False)
    lost: int = field(default=0, compare=False)
    broken: int = field(default=0, compare=False)
    """Lines that could not be read: a disk was full, or the machine went down."""
    hosts: int = field(default=1, compare=False)
    workers: int = field(default=1, compare=False)
    threshold_s: float = field(default=0.0, compare=False)
    """The highest threshold among the recorders: shorter stalls may be missing."""
    slowest_start_s: float | None = field(default=None, compare=False)
    """The longest that an app took from its first moment on the loop until it was ready."""

    def resampled(self, per_day: float | None = None, at_least: int = 0) -> Resampled:
        """A source that draws from this recording, at its own rate where ``per_day`` is not given.

        Raises:
            BadInput: there is no stall in it, or no rate can be told.
        """
        if not self.lengths_s:
            raise BadInput("the recording has no stall", "record longer, or lower the threshold")
        if per_day is None:
            if not self.watched_s:
                raise BadInput("the recording does not say how long it watched", "give the stalls per day")
            per_day = len(self.lengths_s) / self.watched_s * DAY_S
        return Resampled(self.lengths_s, per_day, at_least)


@dataclass(slots=True)
class _Stall:
    started_at: float
    duration_s: float = 0.0
    ended: bool = False


@dataclass(slots=True)
class _Life:
    watched_s: float = 0.0
    stalls: int = 0
    known: int = 0


Key = tuple[Any, ...]


def read_recording(*paths: Path) -> Recording:
    """Read flight recorders' files, one JSON object a line; a folder stands for the ``.jsonl`` files in it, and a file
    brings the ``.1`` along that was rotated away from it. A line that was cut off is counted and left out.

    Raises:
        BadFile: one cannot be read, holds no record, or was written by a newer version.
    """
    stalls: dict[Key, _Stall] = {}
    lives: dict[Key, _Life] = {}
    seen: list[dict[str, Any]] = []
    broken = 0
    for path in dict.fromkeys(one for given in paths for one in _files(given)):
        records, wrong = _read(path)
        broken += wrong
        for record in records:
            _note(record, stalls, lives)
            seen.append(record)
    _watched_to_the_last(stalls, lives)
    known, lost = len(stalls), sum(max(0, life.stalls - life.known) for life in lives.values())
    watched_s = sum(life.watched_s for life in lives.values()) * (known / (known + lost) if known else 1.0)
    starts = [float(one["ready_after_s"]) for one in seen if one.get("ready_after_s")]
    return Recording(
        tuple(stall.duration_s for stall in sorted(stalls.values(), key=lambda one: one.started_at)),
        watched_s or None,
        sum(not stall.ended for stall in stalls.values()),
        lost if known else 0,
        broken,
        max(1, len({one.get("host") for one in seen})),
        max((int(one.get("workers") or 1) for one in seen), default=1),
        max((float(one.get("threshold_s") or 0.0) for one in seen), default=0.0),
        max(starts, default=None),
    )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.name.endswith((".jsonl", ".jsonl.1")))
        if not found:
            raise BadFile(f"{path} has no .jsonl file in it", "name the file that UNSTALL_RECORD named")
        return found
    rotated = path.with_name(path.name + ".1")
    return [rotated, path] if rotated.is_file() else [path]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of one file, and how many lines are none. One that is not ours has more of the latter."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    records: list[dict[str, Any]] = []
    wrong: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            wrong.append(number)
        elif isinstance(record.get("schema"), int) and record["schema"] > SCHEMA:
            raise BadFile(f"{path}:{number} was written by a newer unstall", "install that version to read it")
        else:
            records.append(record)
    if len(wrong) > len(records):
        raise BadFile(f"{path}:{wrong[0]} is not a flight record", "name the file that UNSTALL_RECORD named")
    return records, len(wrong)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        if record["event"] in OF_A_STALL:
            float(record["duration_s"]), float(record["started_at"])
        else:
            float(record.get("watched_s") or 0.0)
    except (ValueError, TypeError, KeyError):
        return None
    return record if isinstance(record, dict) else None


def _process(record: dict[str, Any]) -> Key:
    return tuple(record.get(name) for name in ("host", "pid", "process", "worker"))


def _note(record: dict[str, Any], stalls: dict[Key, _Stall], lives: dict[Key, _Life]) -> None:
    """One line: a stall's latest length, or how long its process has been watched."""
    began = record.get("monotonic", record.get("started_at"))
    key = (*_process(record), began)
    if record["event"] in OF_A_STALL:
        stall = stalls.setdefault(key, _Stall(float(record["started_at"])))
        stall.duration_s = max(stall.duration_s, float(record["duration_s"]))
        stall.ended |= record["event"] == "stall_ended"
    elif record["event"] in LIVES and record.get("watched_s") is not None:
        # Without a monotonic second the same life cannot be told by its beginning, which wanders.
        life = lives.setdefault(key if "monotonic" in record else (*_process(record), None), _Life())
        life.watched_s = max(life.watched_s, float(record["watched_s"]))
        life.stalls = max(life.stalls, int(record.get("stalls") or 0))


def _watched_to_the_last(stalls: dict[Key, _Stall], lives: dict[Key, _Life]) -> None:
    """A process was watched at least until the end of its last stall; a stall belongs to the life it began in."""
    of_process: dict[Key, list[tuple[Any, _Life]]] = defaultdict(list)
    for key, life in lives.items():
        of_process[key[:-1]].append((key[-1], life))
    for key, stall in stalls.items():
        began_at = key[-1]
        begun = [one for one in of_process[key[:-1]] if one[0] is None or one[0] <= began_at]
        if not begun:
            continue
        since, life = max(begun, key=lambda one: one[0] or 0.0)
        life.known += stall.ended
        if since is not None:
            life.watched_s = max(life.watched_s, began_at + stall.duration_s - since)
