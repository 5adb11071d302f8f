"""What the server recorded about itself, put on the trial's clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unstall.lab.evidence import read_stalls
from unstall.model import Site


def write(record: Path, *events: dict[str, Any] | str) -> None:
    lines = [event if isinstance(event, str) else json.dumps({"schema": 1, "pid": 7, **event}) for event in events]
    record.write_text("\n".join(lines) + "\n")


def began(at: float, **more: Any) -> dict[str, Any]:
    return {"event": "stall_began", "monotonic": at, **more}


def test_a_stall_has_its_line_its_route_and_the_source_around_it(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("".join(f"line {n}\n" for n in range(1, 10)))
    site = {"path": str(app), "line": 5, "function": "hello"}
    write(
        tmp_path / "r.jsonl",
        began(103.0, site=site, stack=[{"path": str(app), "line": 5, "function": "hello", "own": True}]),
        {"event": "stall_ended", "monotonic": 103.0, "duration_s": 2.5, "route": "GET /hello", "site": site},
    )
    (stall,) = read_stalls(tmp_path / "r.jsonl", 100.0, 20.0, [(0.0, 20.0)], tmp_path)
    assert (stall.started_at, stall.duration_s, stall.ended, stall.route) == (3.0, 2.5, True, "GET /hello")
    assert stall.site == Site("app.py", 5, qualname="hello")
    assert stall.source == tuple(f"line {n}" for n in range(2, 9)) and stall.source_line == 2


def test_a_stall_that_a_kill_cut_short_lasts_until_the_end_of_that_life(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", began(103.0), '{"schema": 1, "event": "stall_up')
    (stall,) = read_stalls(tmp_path / "r.jsonl", 100.0, 60.0, [(0.0, 33.0), (34.0, 60.0)], tmp_path)
    assert stall.duration_s == pytest.approx(30.0) and not stall.ended


def test_no_record_is_no_stall(tmp_path: Path) -> None:
    assert read_stalls(tmp_path / "none.jsonl", 0.0, 1.0, [], tmp_path) == ()
