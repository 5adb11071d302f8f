"""What may block, and who says so: marker, fixture, folders, comments, the ini file, the baseline."""

from __future__ import annotations

import json

import pytest
from tests.pytest_plugin.test_frameworks import run

from unstall.errors import BadInput
from unstall.model import Finding, Primitive, Site
from unstall.pytest_plugin.settings import Terms, folders_of, in_folder, marked, matches, seconds_of

pytest_plugins = ["pytester"]

SUITE = """
    import asyncio, sqlite3, time
    import pytest

    def nap():
        time.sleep(0.001)

    async def test_bad():
        nap()

    @pytest.mark.unstall(allow="time.sleep", reason="is being moved")
    async def test_good_marked():
        nap()

    @pytest.mark.unstall("UNS10*")
    async def test_good_by_rule():
        nap()

    @pytest.mark.unstall(allow=["requests.*", "UNS103"])
    async def test_bad_other_allowed():
        nap()

    @pytest.mark.unstall(enabled=False)
    async def test_good_off():
        nap()

    async def test_good_comment():
        time.sleep(0.001)  # unstall: ignore[UNS101] the start of a chain is fine too

    async def test_good_in_the_block(unstall):
        with unstall.allow("time.sleep"):
            nap()
        assert [call.rule for call in unstall.calls] == ["UNS101"]

    async def test_bad_after_the_block(unstall):
        with unstall.allow("time.sleep"):
            nap()
        nap()
"""


def test_markers_comments_and_the_fixture_allow_what_they_name_and_nothing_else(pytester: pytest.Pytester) -> None:
    failed, passed, text = run(pytester, test_it=SUITE)
    assert failed == {"test_bad", "test_bad_other_allowed", "test_bad_after_the_block"}, text
    assert len(passed) == 5, text


def test_the_fixture_watches_its_own_test_where_nothing_else_is_watched(pytester: pytest.Pytester) -> None:
    suite = SUITE + "\n    async def test_bad_watched(unstall):\n        nap()\n"
    failed, passed, text = run(pytester, "--no-unstall", test_it=suite)
    assert failed == {"test_bad_watched", "test_bad_after_the_block"}, text
    assert {"test_bad", "test_bad_other_allowed"} <= passed, text


def test_the_ini_file_and_the_projects_own_settings_hold_everywhere(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.unstall]\nallow = ["time.sleep"]\nextend-blocking = ["slow.wait"]\n')
    pytester.makepyfile(slow="def wait(): ...")
    suite = """
        import slow, time, sqlite3
        async def test_good(): time.sleep(0.001)
        async def test_bad_own_row(): slow.wait()
        async def test_bad_sqlite(): sqlite3.connect(":memory:").close()
    """
    failed, passed, text = run(pytester, test_it=suite)
    assert failed == {"test_bad_own_row", "test_bad_sqlite"} and "UNS100 slow.wait" in text, text
    pytester.makepyprojecttoml("")
    pytester.path.joinpath("tests").mkdir(exist_ok=True)
    suite = "import time, sqlite3\nasync def test_nap(): time.sleep(0.001)\nasync def test_db(): sqlite3.connect(':memory:')"
    for folder in ("old", "new"):
        pytester.mkdir(folder).joinpath(f"test_{folder}.py").write_text(suite)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nunstall = true\n"
        "unstall_directories =\n    old = off\n    new = allow UNS103; budget 60\n"
    )
    done = pytester.runpytest_subprocess("-q", "old", "new", "-W", "ignore")
    done.stdout.fnmatch_lines(["FAILED new/test_new.py::test_nap *"])
    done.assert_outcomes(failed=1, passed=3)


def test_a_baseline_only_shrinks_and_its_unused_entries_are_told(pytester: pytest.Pytester) -> None:
    one = "import time\ndef nap(): time.sleep(0.001)\nasync def test_one(): nap()\n"
    two = "import os\nasync def test_two(): os.system('true')\n"
    failed, _, text = run(pytester, "--unstall-write-baseline", test_one=one, test_two=two)
    assert not failed and "unstall-pytest.json: 2 calls accepted" in text
    accepted = "unstall-pytest.json"
    pytester.makepyfile(test_two="async def test_two(): ...")
    failed, _, text = run(pytester, "--unstall-baseline", accepted, test_one="\n\n" + one)
    assert not failed and "accepts 1 call that no test makes any more" in text
    assert "test_two.py::test_two::UNS105::os.system" in text
    # A part of the tests proves nothing of the rest.
    _, _, text = run(pytester, "--unstall-baseline", accepted, "-k", "two", test_one=one)
    assert "no test makes any more" not in text
    # What is new is not accepted by writing again; what is gone is dropped.
    new = one + "def other(): time.sleep(0.001)\nasync def test_new(): other()\n"
    failed, _, text = run(pytester, "--unstall-baseline", accepted, "--unstall-write-baseline", test_one=new)
    assert failed == {"test_new"} and "1 call accepted, 1 entry dropped" in text
    kept = json.loads((pytester.path / accepted).read_text())
    assert kept["findings"] == ["test_one.py::nap::UNS101::time.sleep"]


def test_settings_that_cannot_be_read_stop_the_run_with_what_to_say_instead(pytester: pytest.Pytester) -> None:
    _, _, text = run(pytester, "--unstall-budget", "soon", test_it="def test_x(): ...")
    assert "ERROR: unstall_budget should be a number of seconds, as 0.5, not 'soon'" in text
    _, _, text = run(pytester, "-o", "unstall_directories=tests = loud", test_it="def test_x(): ...")
    assert "cannot read 'loud' for tests" in text and "say on, off, allow CALL..., or budget SECONDS" in text


# --- without a pytest of their own -----------------------------------------------------------------------


def finding(name: str = "requests.Session().get", rule: str = "UNS102") -> Finding:
    return Finding(rule, "error", Site("app.py", 1), Primitive(name, rule, "waits", "U"), (), "key")


@pytest.mark.parametrize("pattern", ["UNS102", "UNS1*", "requests.Session.get", "requests.*", "requests.Session().get"])
def test_a_call_is_allowed_by_its_rule_or_its_path(pattern: str) -> None:
    assert matches(pattern, finding())


@pytest.mark.parametrize("pattern", ["UNS103", "requests", "Session.get", "request?.Session"])
def test_other_words_do_not_allow_it(pattern: str) -> None:
    assert not matches(pattern, finding())


def test_the_inner_folder_speaks_last_and_allowed_calls_add_up() -> None:
    folders = folders_of(["tests/slow/db = on; budget 2s", "tests = off; allow UNS104", "tests/slow = allow UNS103"])
    terms = in_folder(Terms(), folders, "tests/slow/db/test_x.py")
    assert terms == Terms(True, ("UNS104", "UNS103"), 2.0)
    assert in_folder(Terms(), folders, "tests/slower/test_x.py") == Terms(False, ("UNS104",), None)
    assert in_folder(Terms(), folders, "src/test_x.py") == Terms()


def test_markers_of_module_and_test_add_up_and_the_nearest_decides() -> None:
    outer, inner = (
        pytest.mark.unstall(allow="UNS101", enabled=False).mark,
        pytest.mark.unstall(enabled=True, budget=0.5).mark,
    )
    assert marked(Terms(), [outer, inner]) == Terms(True, ("UNS101",), 0.5)


@pytest.mark.parametrize("said", [{"alow": "x"}, {"allow": [1]}, {"enabled": "no"}, {"budget": -1}])
def test_a_marker_that_says_nonsense_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        marked(Terms(), [pytest.mark.unstall(**said).mark])


def test_a_time_is_seconds_or_nothing() -> None:
    assert (seconds_of("", "x"), seconds_of(" 0.5s ", "x"), seconds_of("0", "x")) == (None, 0.5, 0.0)
    for wrong in ("soon", "-1", "inf", "nan"):
        with pytest.raises(BadInput):
            seconds_of(wrong, "x")
