"""Options, comments, baseline, settings and the cache of `check`."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from unstall.errors import BadFile, BadInput
from unstall.source.baseline import Baseline, read_baseline, shrunk, write_baseline
from unstall.source.check import CheckReport, Options, check
from unstall.source.project import find_sources
from unstall.source.settings import find_settings
from unstall.source.store import CACHE_DIR

APP = """import time
from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello():
    time.sleep(1)


def helper():
    time.sleep(2)


async def alone():
    helper()
"""


def run(root: Path, **options: object) -> CheckReport:
    return check(root, Options(**{"cache": False, **options}))  # type: ignore[arg-type]


def write(root: Path, text: str = APP, name: str = "app.py") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root


def test_routes_only_leaves_out_coroutines_that_no_route_awaits(tmp_path: Path) -> None:
    report = run(write(tmp_path), entrances="routes")
    assert [f.site.line for f in report.findings] == [9]
    assert report.findings[0].chains[0].entrance.label == "GET /hello"


def test_a_rule_can_be_ignored_or_selected(tmp_path: Path) -> None:
    write(tmp_path)
    assert run(tmp_path, ignore=("UNS101",)).findings == ()
    assert run(tmp_path, select=("UNS102",)).findings == ()
    assert len(run(tmp_path, select=("UNS1",)).findings) == 2


def test_a_call_can_be_allowed_and_another_declared_blocking(tmp_path: Path) -> None:
    write(tmp_path, "import mylib, time\nasync def f():\n    mylib.Client().send()\n    time.sleep(1)\n")
    report = run(tmp_path, extend_blocking=("mylib.Client().send",), allow=("time.sleep",))
    assert [(f.rule, f.site.line) for f in report.findings] == [("UNS100", 3)]


def test_test_files_are_left_out_and_counted_until_asked_for(tmp_path: Path) -> None:
    write(write(tmp_path), APP, "tests/test_app.py")
    assert run(tmp_path).stats.tests_left_out == 1
    assert len(run(tmp_path, tests=True).findings) == 4


def test_environments_and_excluded_paths_are_not_read(tmp_path: Path) -> None:
    for name in ("venv/lib/a.py", "env2/b.py", "gen/c.py", "node_modules/d.py", "app.py"):
        write(tmp_path, "x = 1\n", name)
    (tmp_path / "env2" / "pyvenv.cfg").write_text("")
    assert find_sources(tmp_path, ["gen/"])[0] == ["app.py"]


def test_a_key_survives_lines_that_move_and_tells_two_calls_of_one_function_apart(tmp_path: Path) -> None:
    write(tmp_path, "import time\nasync def f():\n    time.sleep(1)\n    time.sleep(2)\n")
    before = {f.key for f in run(tmp_path).findings}
    write(tmp_path, "import time\n\n# moved\n\nasync def f():\n    time.sleep(1)\n    time.sleep(2)\n")
    assert {f.key for f in run(tmp_path).findings} == before
    assert len(before) == 2


# --- comments ---------------------------------------------------------------------------------------


def test_a_comment_silences_its_line(tmp_path: Path) -> None:
    write(tmp_path, APP.replace("sleep(1)", "sleep(1)  # unstall: ignore[UNS101] cold start only"))
    report = run(tmp_path)
    assert [f.site.line for f in report.findings] == [13]
    assert report.stats.suppressed == 1
    assert report.unused_ignores == ()


def test_a_comment_on_the_line_before_speaks_for_the_next(tmp_path: Path) -> None:
    write(tmp_path, APP.replace("    time.sleep(2)", "    # unstall: ignore[UNS101] known\n    time.sleep(2)"))
    assert [f.site.line for f in run(tmp_path).findings] == [9]


def test_a_comment_at_the_call_in_the_coroutine_takes_away_that_chain_only(tmp_path: Path) -> None:
    more = (
        APP.replace("    helper()", "    helper()  # unstall: ignore[UNS101] once a day")
        + "\n\nasync def b():\n    helper()\n"
    )
    report = run(write(tmp_path, more))
    (finding,) = [f for f in report.findings if f.site.line == 13]
    assert [c.entrance.site.qualname for c in finding.chains] == ["b"]


def test_a_comment_for_another_rule_or_without_a_finding_is_reported_as_unused(tmp_path: Path) -> None:
    write(tmp_path, APP.replace("sleep(1)", "sleep(1)  # unstall: ignore[UNS102] no") + "\nx = 1  # unstall: ignore\n")
    report = run(tmp_path)
    assert len(report.findings) == 2
    assert [(u.line, u.rules) for u in report.unused_ignores] == [(9, ("UNS102",)), (19, ())]


def test_a_string_that_reads_like_a_comment_silences_nothing(tmp_path: Path) -> None:
    write(tmp_path, "import time\nasync def f():\n    time.sleep(1); x = '# unstall: ignore'\n")
    assert len(run(tmp_path).findings) == 1


# --- baseline ---------------------------------------------------------------------------------------


def test_a_baseline_hides_what_it_has_and_only_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    first = run(write(tmp_path)).findings
    write_baseline(path, shrunk(read_baseline(path), first))
    known = read_baseline(path)
    assert known is not None
    new, accepted, gone = known.split(first)
    assert (new, len(accepted), gone) == ((), 2, frozenset())
    later = run(
        write(tmp_path, APP.replace("time.sleep(2)", "pass") + "\n\nasync def z():\n    time.sleep(3)\n")
    ).findings
    new, accepted, gone = known.split(later)
    assert ([f.site.qualname for f in new], len(accepted), len(gone)) == (["z"], 1, 1)
    assert shrunk(known, later).keys == {accepted[0].key}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 1}', '{"schema": 99, "findings": []}', '{"schema": 1, "findings": [1]}']
)
def test_a_damaged_or_newer_baseline_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(BadFile):
        read_baseline(tmp_path / "b.json")


def test_the_baseline_file_has_no_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_baseline(path, Baseline(frozenset(f.key for f in run(write(tmp_path)).findings)))
    assert json.loads(path.read_text())["findings"] == [
        "app.py::hello::UNS101::time.sleep",
        "app.py::helper::UNS101::time.sleep",
    ]


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.unstall]\nexclud = ['a']", "did you mean exclude?"),
        ("[tool.unstall]\nzzz = 1", "the keys are"),
        ("[tool.unstall]\nexclude = 'a'", "list of strings"),
        ("[tool.unstall]\nnotes = 'yes'", "true or false"),
        ("[tool.unstall]\nentrances = 'some'", "all or routes"),
        ("[tool.unstall]\nbaseline = 1", "should be a string"),
        ("[tool", "cannot read"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BadInput) as caught:
        find_settings(tmp_path)
    assert said in str(caught.value)


def test_settings_are_found_above_the_folder_that_is_checked(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.unstall]\nexclude = ['gen']")
    (tmp_path / "src").mkdir()
    found = find_settings(tmp_path / "src")
    assert found is not None and found[1] == {"exclude": ["gen"]}


# --- cache ------------------------------------------------------------------------------------------


def test_a_second_run_reads_nothing_and_finds_the_same(tmp_path: Path) -> None:
    first = check(write(tmp_path))
    second = check(tmp_path)
    assert (first.stats.parsed_now, second.stats.parsed_now) == (1, 0)
    assert first.findings == second.findings


def test_an_unchanged_project_is_not_analysed_again_unless_the_question_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = check(write(tmp_path))
    import unstall.source.check as module

    with monkeypatch.context() as patched:
        patched.setattr(module, "analysed", None)
        again = check(tmp_path)
    assert (again.findings, again.unused_ignores) == (first.findings, first.unused_ignores)
    assert again.stats.routes == first.stats.routes
    assert check(tmp_path, Options(ignore=("UNS101",))).findings == ()
    write(tmp_path, APP.replace("time.sleep(2)", "pass"))
    assert [f.site.line for f in check(tmp_path).findings] == [9]


def test_an_edit_is_seen_even_when_size_and_time_stay(tmp_path: Path) -> None:
    import os

    path = write(tmp_path) / "app.py"
    check(tmp_path)
    stat = path.stat()
    path.write_text(APP.replace("time.sleep(1)", "time.slept(1)"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(check(tmp_path).findings) == 1


@pytest.mark.parametrize("damage", [b"", b"unstall-cache\n", b"garbage" * 50, None])
def test_a_damaged_cache_is_ignored(tmp_path: Path, damage: bytes | None) -> None:
    first = check(write(tmp_path))
    for path in (tmp_path / CACHE_DIR).iterdir():
        if path.name == ".gitignore":
            continue
        data = bytearray(path.read_bytes())
        data[-3] ^= 0xFF
        path.write_bytes(bytes(data) if damage is None else damage)
    second = check(tmp_path)
    assert second.stats.parsed_now == 1
    assert second.findings == first.findings


def test_parallel_runs_share_a_cache(tmp_path: Path) -> None:
    write(tmp_path)
    reports: list[CheckReport] = []
    threads = [threading.Thread(target=lambda: reports.append(check(tmp_path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 6
    assert len({report.findings for report in reports}) == 1
    assert not list((tmp_path / CACHE_DIR).glob("*.part"))


def test_many_files_are_read_in_several_processes_with_the_same_result(tmp_path: Path) -> None:
    from unstall.source.reading import read_all

    source = (APP + "\n# " + "x" * 400_000).encode()
    assert read_all([source] * 5, jobs=2) == read_all([source] * 5, jobs=1)


def test_only_events_of_an_application_are_its_lifespan(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import time\nfrom starlette.applications import Starlette\n\napp = Starlette()\n\n\n"
        "async def up():\n    time.sleep(1)\n\n\nasync def on_frame():\n    time.sleep(1)\n\n\n"
        'app.add_event_handler("startup", up)\nbus.add_event_handler("frame", on_frame)\n'
    )
    found = run(tmp_path).findings
    assert [chain.entrance.label for one in found for chain in one.chains] == ["lifespan up", "async def on_frame"]
