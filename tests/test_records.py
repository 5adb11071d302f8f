"""A result survives its file, and a file that is not one is refused in a sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from unstall.errors import BadFile
from unstall.model import (
    Arm,
    Exec,
    Experiment,
    Grpc,
    HttpGet,
    LabReport,
    Measure,
    Phase,
    PodTimeline,
    ProbeSpec,
    ProbeType,
    Request,
    Site,
    Stall,
    TableRow,
    TcpSocket,
    Trial,
    Verdict,
)
from unstall.records import SCHEMA, from_plain, read_report, to_plain, write_report

times = some.floats(0, 1e6).map(lambda value: round(value, 6))
handlers = some.one_of(
    some.builds(HttpGet, some.one_of(some.integers(1, 65535), some.text(min_size=1, max_size=5)), some.text()),
    some.builds(TcpSocket, some.integers(1, 65535)),
    some.builds(Exec, some.lists(some.text(), max_size=3).map(tuple)),
    some.builds(Grpc, some.integers(1, 65535), some.text()),
)
timelines = some.builds(
    PodTimeline,
    duration_s=times,
    phases=some.lists(some.builds(Phase, some.just("running"), times, times), max_size=3).map(tuple),
    stalls=some.lists(
        some.builds(Stall, times, times, site=some.none() | some.builds(Site, some.text(), some.integers(1))),
        max_size=3,
    ).map(tuple),
    requests=some.lists(
        some.builds(Request, some.text(), times, times, times, some.none() | some.integers(100, 599)), max_size=3
    ).map(tuple),
)


@given(timelines)
def test_a_timeline_is_the_same_after_json(timeline: PodTimeline) -> None:
    assert from_plain(PodTimeline, json.loads(json.dumps(to_plain(timeline)))) == timeline


@given(some.builds(ProbeSpec, some.sampled_from(ProbeType), handlers))
def test_a_probe_is_the_same_after_json(probe: ProbeSpec) -> None:
    assert from_plain(ProbeSpec, json.loads(json.dumps(to_plain(probe)))) == probe


def report() -> LabReport:
    experiment = Experiment(
        "1",
        "One",
        (Arm("A", "app:app"),),
        (Trial("A", 1, PodTimeline(1.0)),),
        (TableRow("restarts", (Measure(1.0, "count"),)),),
        Verdict(True, "It holds."),
    )
    return LabReport((experiment,), "0.1.0", "unstall lab", "2026-01-01T00:00:00+00:00")


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "r.json")
    assert read_report(tmp_path / "r.json") == report()
    assert json.loads((tmp_path / "r.json").read_text())["schema"] == SCHEMA
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_what_is_not_a_number_is_read_as_not_a_number(tmp_path: Path) -> None:
    odd = replace(report(), elapsed_s=math.nan)
    write_report(odd, tmp_path / "r.json")
    assert math.isnan(read_report(tmp_path / "r.json").elapsed_s)


def test_a_file_of_a_newer_schema_names_the_version_to_install(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"schema": SCHEMA + 1, "version": "9.1.0"}))
    with pytest.raises(BadFile, match=f"schema {SCHEMA + 1}") as caught:
        read_report(tmp_path / "r.json")
    assert caught.value.hint == "install unstall 9.1.0 or newer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "no schema number"),
        ('{"schema": 1}', "incomplete"),
        ('{"schema": 1, "experiments": 3, "version": "", "command": "", "created": ""}', "should be a list"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BadFile, match=said):
        read_report(tmp_path / "r.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot read"):
        read_report(tmp_path / "none.json")
