"""What flight recorders leave behind: whole, cut off, rotated, from several pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unstall.errors import BadFile, BadInput
from unstall.kubelet.recording import Recording, read_recording

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


def test_a_damaged_line_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"event": "alive"}\nnonsense\n{"event": "alive"}\n', encoding="utf-8")
    assert read_recording(path).broken == 1


@pytest.mark.parametrize("text", ["hello\n", '{"msg": "a log line"}\n', "[1]\n", "kind: Deployment\n"])
def test_a_file_of_another_kind_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=r"bad.jsonl:1 is not a flight record"):
        read_recording(path)


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "new.jsonl", {"schema": 2, "event": "alive", "watched_s": 1.0})
    with pytest.raises(BadFile, match="newer unstall"):
        read_recording(path)


def test_a_recording_without_stalls_or_without_a_rate_says_what_to_do() -> None:
    with pytest.raises(BadInput, match="no stall"):
        Recording((), 60.0).resampled()
    with pytest.raises(BadInput, match="how long it watched"):
        Recording((1.0,), None).resampled()
    assert Recording((1.0,), None).resampled(per_day=5).per_day == 5


def stall(event: str, monotonic: float, duration_s: float, wander_s: float = 0.0, **more: Any) -> dict[str, Any]:
    times = {"started_at": 1e9 + monotonic + wander_s, "monotonic": monotonic, "duration_s": duration_s}
    return {"event": event, **times, "threshold_s": 0.1, **more}


def life(event: str, watched_s: float, began: float = 0.0, **more: Any) -> dict[str, Any]:
    times = {"started_at": 1e9 + began, "monotonic": began, "watched_s": watched_s}
    return {"event": event, **times, "threshold_s": 0.1, **more}


def test_the_wandering_wall_clock_makes_no_second_stall(tmp_path: Path) -> None:
    """Seen in a real file: the same stall a microsecond earlier in its next record."""
    path = written(tmp_path / "s.jsonl", stall("stall_began", 5.0, 0.1), stall("stall_ended", 5.0, 2.5, wander_s=-1e-6))
    assert read_recording(path).lengths_s == (2.5,)


def test_a_process_that_was_killed_was_watched_until_the_end_of_its_last_stall(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.jsonl",
        life("alive", 0.02, began=100.0),
        stall("stall_began", 160.0, 0.1),
        stall("killed", 160.0, 31.0),
    )
    read = read_recording(path)
    assert (read.lengths_s, read.watched_s, read.cut) == ((31.0,), 91.0, 1)


def test_a_pod_that_restarts_with_the_same_process_number_is_watched_twice(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.jsonl",
        life("stopped", 600.0, began=10.0, process=111),
        life("stopped", 300.0, began=700.0, process=222),
    )
    assert read_recording(path).watched_s == 900.0


def test_a_rotated_file_is_read_with_the_one_it_was_rotated_from(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(
        tmp_path / "s.jsonl.1", life("started", 0.0), stall("stall_ended", 5.0, 2.0), stall("stall_began", 9.0, 0.1)
    )
    written(path, life("alive", 100.0, stalls=2), stall("stall_ended", 9.0, 3.0))
    read = read_recording(path)
    assert (read.lengths_s, read.watched_s, read.lost) == ((2.0, 3.0), 100.0, 0)


def test_stalls_that_were_rotated_away_shorten_the_time_watched_by_their_share(tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", life("alive", 1000.0, stalls=4), stall("stall_ended", 990.0, 2.0))
    read = read_recording(path)
    assert (read.lost, read.watched_s) == (3, 250.0)
    assert read.resampled().per_day == pytest.approx(4 / 1000.0 * 86400)


def test_several_pods_add_up_from_a_folder_or_from_several_files(tmp_path: Path) -> None:
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    written(one, life("stopped", 60.0, host="a"), stall("stall_ended", 5.0, 2.0, host="a"))
    written(two, life("stopped", 40.0, host="b", threshold_s=1.0, workers=4), stall("stall_ended", 5.0, 2.0, host="b"))
    for read in (read_recording(tmp_path), read_recording(one, two), read_recording(one, two, one)):
        assert (len(read.lengths_s), read.watched_s, read.hosts) == (2, 100.0, 2)
        assert (read.threshold_s, read.workers) == (1.0, 4)


def test_the_slowest_start_is_kept(tmp_path: Path) -> None:
    path = written(
        tmp_path / "s.jsonl", life("alive", 9.0, ready_after_s=41.5), life("alive", 9.0, ready_after_s=None, pid=8)
    )
    assert read_recording(path).slowest_start_s == 41.5
