"""`unstall show`: from JSON alone, and clear about files it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unstall.cli import main
from unstall.model import Arm, Experiment, LabReport, Measure, Phase, PodTimeline, Request, TableRow, Trial, Verdict
from unstall.records import SCHEMA, write_report


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    """A small result as `unstall lab --json` writes it."""
    timeline = PodTimeline(3.0, (Phase("running", 0.0, 3.0),), requests=(Request("GET /hello", 1.0, 1.0, 2.5, 200),))
    experiment = Experiment(
        "1",
        "A title of its own",
        (Arm("A", "a:app"),),
        (Trial("A", 1, timeline),),
        (TableRow("restarts", (Measure(0, "count"),)),),
        Verdict(True, "Nobody was restarted."),
        settings=(("load", "one request"),),
    )
    path = tmp_path / "result.json"
    write_report(LabReport((experiment,), "0.1.0", "unstall lab", "2026-11-22T16:30:00Z"), path)
    return path


def show(*arguments: object) -> Result:
    """Run `unstall show`."""
    return CliRunner().invoke(main, ["show", *map(str, arguments)])


def test_a_result_is_printed_again(result_file: Path) -> None:
    result = show(result_file)
    assert result.exit_code == 0, result.output
    assert "A title of its own" in result.output
    assert "HOLDS  Nobody was restarted." in result.output


def test_a_result_is_drawn_again(result_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = show(result_file, "--html", page)
    assert result.exit_code == 0, result.output
    assert result.output == f"Report  {page} ({len(page.read_bytes()) / 1000:,.0f} KB, one file, works offline)\n"
    assert "A title of its own" in page.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "result.json"]


def test_drawing_twice_gives_the_same_bytes(result_file: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        show(result_file, "--html", page)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_newer_schema_is_refused_with_the_version_to_install(result_file: Path) -> None:
    plain = json.loads(result_file.read_text())
    result_file.write_text(json.dumps({**plain, "schema": SCHEMA + 1, "version": "7.3.1"}))
    result = show(result_file)
    assert result.exit_code == 2
    assert "install unstall 7.3.1 or newer" in result.output


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_every_older_schema_is_read(result_file: Path, schema: int) -> None:
    plain = json.loads(result_file.read_text())
    result_file.write_text(json.dumps({**plain, "schema": schema}))
    assert show(result_file).exit_code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is not JSON"), ("[1]", "has no schema number"), ('{"schema":1,"experiments":7}', "should be a list")],
)
def test_a_file_that_is_no_result_is_named_and_explained(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    result = show(path)
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert said in result.output


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = show(tmp_path / "gone.json")
    assert result.exit_code == 2
    assert "gone.json: No such file or directory" in result.output


def test_a_page_that_cannot_be_written_is_named_and_what_was_there_is_kept(result_file: Path, tmp_path: Path) -> None:
    result = show(result_file, "--html", tmp_path / "nowhere" / "page.html")
    assert result.exit_code == 2
    assert "cannot write" in result.output and "--html" in result.output
    folder = tmp_path / "folder"
    folder.mkdir()
    assert show(result_file, "--html", folder).exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "result.json"]
