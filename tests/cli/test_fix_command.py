"""`unstall fix` as people call it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unstall.cli import main

APP = """import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index():
    time.sleep(1)
    return "ok"
"""
LEFT = """import threading
import time

lock = threading.Lock()


async def index():
    lock.acquire()
    time.sleep(1)
    lock.release()
"""


def fix(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["fix", str(folder), "--no-cache", *words])


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_the_diff_is_printed_and_nothing_is_written(project: Path) -> None:
    result = fix(project, "--diff")
    assert (project / "app.py").read_text() == APP
    assert result.exit_code == 1
    assert "--- a/app.py\n+++ b/app.py\n" in result.output
    assert "asyncio.sleep lets others run meanwhile\n" in result.output
    assert "-    time.sleep(1)\n+    await asyncio.sleep(1)\n" in result.output
    assert "Would fix 1 of 1 finding in 1 file." in result.output


def test_the_real_run_prints_the_same_hunks_and_writes_them(project: Path) -> None:
    shown = fix(project, "--diff").output.partition("Would fix")[0]
    result = fix(project)
    assert result.exit_code == 0
    assert result.output.partition("Fixed 1 of 1")[0] == shown
    assert (project / "app.py").read_text() == APP.replace("import time", "import asyncio").replace(
        "time.sleep", "await asyncio.sleep"
    )
    again = fix(project)
    assert again.exit_code == 0
    assert "Nothing to fix" in again.output


def test_git_applies_what_the_diff_prints(project: Path) -> None:
    patch = fix(project, "--diff").output.partition("Would fix")[0]
    git(project, "init", "-q")
    subprocess.run(["git", "apply", "-"], cwd=project, input=patch.encode(), check=True, capture_output=True)
    assert "await asyncio.sleep(1)" in (project / "app.py").read_text()


def test_what_is_left_is_listed_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LEFT)
    result = fix(tmp_path)
    assert result.exit_code == 1
    assert "Left for you: app.py:" in result.output
    assert "the lock `lock` is held across it" in result.output
    assert (tmp_path / "app.py").read_text() == LEFT


def test_uncommitted_changes_need_allow_dirty(project: Path) -> None:
    git(project, "init", "-q")
    result = fix(project)
    assert result.exit_code == 2
    assert "app.py: has uncommitted changes, nothing was written" in result.stderr
    assert "--allow-dirty" in result.stderr
    assert (project / "app.py").read_text() == APP
    assert fix(project, "--diff").exit_code == 1
    git(project, "add", ".")
    assert fix(project).exit_code == 2
    git(project, "commit", "-qm", "one")
    (project / "other.txt").write_text("not of this fix")
    assert fix(project).exit_code == 0
    assert fix(project).exit_code == 0
    (project / "app.py").write_text(APP)
    git(project, "checkout", "-q", ".")
    (project / "app.py").write_text(APP + "\n")
    assert fix(project, "--allow-dirty").exit_code == 0
    assert "await asyncio.sleep" in (project / "app.py").read_text()


def test_only_the_selected_rules_are_fixed(project: Path) -> None:
    assert "Nothing to fix" in fix(project, "--select", "UNS102").output
    assert (project / "app.py").read_text() == APP
    assert fix(project, "--select", "UNS101").exit_code == 0
    assert "await asyncio.sleep" in (project / "app.py").read_text()


def test_a_file_is_fixed_by_itself_but_checked_with_the_project_around_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "helper.py").write_text("import time\n\n\ndef wait():\n    time.sleep(1)\n")
    (tmp_path / "one.py").write_text("import helper\n\n\nasync def main():\n    helper.wait()\n")
    (tmp_path / "two.py").write_text("import time\n\n\nasync def main():\n    time.sleep(1)\n")
    result = fix(tmp_path / "one.py")
    assert result.exit_code == 0
    assert "await asyncio.to_thread(helper.wait)" in (tmp_path / "one.py").read_text()
    assert "await" not in (tmp_path / "two.py").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-folder"], "no-such-folder: there is no such file or folder"),
        (["--select", "UNS999"], "--select: there is no rule UNS999"),
        (["--ignore", "nonsense"], "there is no rule nonsense"),
    ],
)
def test_bad_input_is_one_sentence_and_status_two(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["fix", *words])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_python_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text("")
    result = fix(tmp_path / "deploy.yaml")
    assert result.exit_code == 2
    assert "not a Python file" in result.stderr


def test_unsafe_fixes_say_how_behaviour_can_change(tmp_path: Path) -> None:
    text = "import time\n\nhits = 0\n\n\nasync def index():\n    global hits\n    time.sleep(1)\n    hits += 1\n"
    (tmp_path / "app.py").write_text(text)
    safe = fix(tmp_path)
    assert safe.exit_code == 1
    assert "only with --unsafe: `hits` is a global" in safe.output
    assert "1 more fix with --unsafe." in safe.output
    unsafe = fix(tmp_path, "--unsafe")
    assert unsafe.exit_code == 0
    assert "Unsafe: app.py index: `hits` is a global" in unsafe.output


def test_the_pool_that_calls_now_share_is_named(tmp_path: Path) -> None:
    text = APP.replace("import time", "import subprocess").replace("time.sleep(1)", "subprocess.run(['true'])")
    (tmp_path / "app.py").write_text(text)
    result = fix(tmp_path)
    assert "index: nothing is awaited, so FastAPI may run it in a thread" in result.output
    assert "Note: 1 more place now uses Starlette's pool of 40 threads" in result.output


def test_what_the_baseline_accepts_is_left_alone_unless_asked_for(project: Path) -> None:
    CliRunner().invoke(
        main, ["check", str(project), "--no-cache", "--write-baseline", "--baseline", str(project / "accepted.json")]
    )
    before = (project / "app.py").read_bytes()
    done = fix(project, "--baseline", str(project / "accepted.json"), "--allow-dirty")
    assert (done.exit_code, (project / "app.py").read_bytes()) == (0, before)
    assert "in the baseline left alone (--all)." in done.output
    assert fix(project, "--baseline", str(project / "accepted.json"), "--all", "--allow-dirty").exit_code == 0
    assert (project / "app.py").read_bytes() != before


def test_what_a_comment_ignores_is_left_alone(tmp_path: Path) -> None:
    text = APP.replace("time.sleep(1)", "time.sleep(1)  # unstall: ignore[UNS101] warms up")
    (tmp_path / "app.py").write_text(text)
    assert fix(tmp_path).exit_code == 0
    assert (tmp_path / "app.py").read_text() == text


def test_calls_that_leave_one_function_are_named_together_in_the_heading(tmp_path: Path) -> None:
    calls = "".join(f"    subprocess.getoutput('echo {n}')\n    subprocess.call(['true'])\n" for n in range(2))
    (tmp_path / "app.py").write_text("import subprocess\n\n\nasync def main():\n" + calls)
    assert "@@ main: `subprocess.getoutput`, `subprocess.call` move to a thread" in fix(tmp_path, "--diff").output
