"""Stalls from a recording, a random process or a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unstall.errors import BadFile, BadInput
from unstall.kubelet.stalls import Recording, apart, read_recording

BASE = {"schema": 1, "host": "web-1", "pid": 7, "worker": 0}


def written(path: Path, *records: dict[str, Any], tail: str = "") -> Path:
    path.write_text("".join(json.dumps({**BASE, **record}) + "\n" for record in records) + tail, encoding="utf-8")
    return path


def test_a_recording_gives_each_stall_once_with_its_latest_length(tmp_path: Path) -> None:
    path = written(
        tmp_path / "stalls.jsonl",
        {"event": "started", "watched_s": 0.0},
        {"event": "stall_began", "started_at": 10.0, "duration_s": 0.1},
        {"event": "stall_update", "started_at": 10.0, "duration_s": 1.5},
        {"event": "stall_ended", "started_at": 10.0, "duration_s": 3.2},
        {"event": "alive", "watched_s": 3600.0},
        {"event": "stall_began", "started_at": 50.0, "duration_s": 0.1},
        {"event": "killed", "started_at": 50.0, "duration_s": 31.0},
        {"event": "stopped", "watched_s": 7200.0},
        {"event": "alive", "watched_s": 1800.0, "pid": 8},
    )
    assert read_recording(path) == Recording((3.2, 31.0), 9000.0)


def test_a_recording_is_resampled_at_its_own_rate() -> None:
    source = Recording((1.0, 2.0, 3.0), watched_s=43200.0).resampled()
    assert source.per_day == 6.0
    assert source.lengths_s == (1.0, 2.0, 3.0)


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path / "cut.jsonl",
        {"event": "stall_ended", "started_at": 1.0, "duration_s": 2.0},
        tail='{"schema":1,"event":"stall_en',
    )
    assert read_recording(path).lengths_s == (2.0,)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"event": "alive"}\nnonsense\n{"event": "alive"}\n', encoding="utf-8")
    with pytest.raises(BadFile, match=r"bad.jsonl:2 is not a flight record"):
        read_recording(path)


def test_a_recording_without_stalls_or_without_a_rate_says_what_to_do() -> None:
    with pytest.raises(BadInput, match="no stall"):
        Recording((), 60.0).resampled()
    with pytest.raises(BadInput, match="how long it watched"):
        Recording((1.0,), None).resampled()
    assert Recording((1.0,), None).resampled(per_day=5).per_day == 5


def test_stalls_that_touch_are_one_and_a_queued_one_begins_when_the_loop_is_free() -> None:
    assert apart([(1.0, 2.0), (2.0, 3.0), (10.0, 1.0)], 0.1) == ([1.0, 10.0], [6.0, 11.0])
    assert apart([(1.0, 2.0), (3.05, 1.0)], 0.1) == ([1.0], [4.05])
