"""What `check` says of fixes: the findings that `fix` has a rewrite for, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fix_cases import FIXED, TRAPS

from unstall.cli.check import command
from unstall.source.check import Options, check
from unstall.source.marks import fixes

OPTIONS = Options(cache=False, jobs=1, notes=True)
BOTH = """\
import hashlib
import threading
import time

lock = threading.Lock()


async def main():
    time.sleep(1)


async def held():
    with lock:
        time.sleep(1)
        await other()
"""


def marked(root: Path, *arguments: str) -> str:
    return CliRunner().invoke(command, [str(root), "--no-cache", *arguments]).output


@pytest.mark.parametrize("case", FIXED, ids=lambda p: p.stem)
def test_every_finding_of_an_app_that_fix_mends_is_marked(case: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(case.read_bytes())
    found = check(tmp_path, OPTIONS).findings
    assert fixes(tmp_path, found, OPTIONS).keys() == {f.key for f in found}


@pytest.mark.parametrize("case", TRAPS, ids=lambda p: p.stem)
def test_no_finding_of_an_app_with_a_trap_is_marked(case: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(case.read_bytes())
    found = check(tmp_path, OPTIONS).findings
    assert not fixes(tmp_path, found, OPTIONS)


def test_the_screen_says_which_findings_have_a_fix_and_how_many(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BOTH)
    shown = marked(tmp_path)
    assert shown.count("[fix available]") == 1
    assert "= help: asyncio.sleep lets others run meanwhile  [fix available]" in shown
    assert "1 fix available: run `unstall fix --diff`." in shown
    assert "fix available" not in marked(tmp_path, "--no-fixes")


def test_json_and_sarif_say_which_findings_have_a_fix(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BOTH)
    plain = json.loads(marked(tmp_path, "--output-format", "json"))
    assert {f["site"]["qualname"]: f["fixable"] for f in plain["findings"] if "sleep" in f["primitive"]} == {
        "main": True,
        "held": False,
    }
    results = json.loads(marked(tmp_path, "--output-format", "sarif"))["runs"][0]["results"]
    assert sum(result["properties"]["fixable"] for result in results) == 1


def test_what_was_said_last_is_said_again_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").write_text(BOTH)
    options = Options(jobs=1)
    found = check(tmp_path, options).findings
    first = fixes(tmp_path, found, options)
    monkeypatch.setattr("unstall.source.marks.planned", lambda *a: pytest.fail("planned again"))
    assert fixes(tmp_path, found, options) == first
    monkeypatch.setattr("unstall.source.marks.planned", lambda *a: ([], {}))
    (tmp_path / "test_app.py").write_text("import app\n")
    assert fixes(tmp_path, found, options) == {}
