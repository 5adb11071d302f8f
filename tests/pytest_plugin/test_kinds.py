"""Every stall of the runtime's benchmark that is a call fails the test that makes it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.pytest_plugin.kinds import CALLS, NEGATIVE

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
RULES = {
    "http": "UNS102 urllib.request.urlopen",
    "requests": "UNS102 requests.get",
    "socket": "UNS102 socket.socket.recv",
    "file": "UNS104 open.read",
    "fsync": "UNS104 os.fsync",
    "sqlite": "UNS103 sqlite3.Connection.execute",
    "sqlite-lock": "UNS103 sqlite3.Connection.execute",
    "subprocess": "UNS105 subprocess.run",
    "system": "UNS105 os.system",
    "lock": "UNS106 threading.Lock.acquire",
    "event": "UNS106 threading.Event.wait",
    "queue": "UNS106 queue.Queue.get",
    "future": "UNS106 concurrent.futures.Future.result",
    "join": "UNS106 threading.Thread.join",
    "pbkdf2": "UNS108 hashlib.pbkdf2_hmac",
    "scrypt": "UNS108 hashlib.scrypt",
}
LINES = {
    row.split("# WAY: ")[1].strip(): number
    for number, row in enumerate((ROOT / "bench" / "stalls_app.py").read_text().splitlines(), 1)
    if "# WAY: " in row
}


def way_of(test: str) -> str:
    found = re.search(r"test_way\[(?:asyncio-|uvloop-)?([\w/-]+)", test)
    return found[1] if found else test.removeprefix("test_").partition("[")[0]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("STALL_S", "0.15")
    shutil.copy(ROOT / "bench" / "stalls_app.py", pytester.path)
    shutil.copy(ROOT / "tests" / "pytest_plugin" / "kinds.py", pytester.path)
    shutil.copy(ROOT / "tests" / "pytest_plugin" / "kinds_suite.py", pytester.path / "test_kinds.py")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nunstall = true\n")
    return pytester


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_kind_that_is_a_call_fails_with_rule_and_line_and_no_other_does(suite: pytest.Pytester, loop: str) -> None:
    if loop == "uvloop":
        suite.makeconftest(
            "import pytest, uvloop\n"
            "@pytest.fixture(scope='session')\ndef event_loop_policy():\n    return uvloop.EventLoopPolicy()\n"
        )
    done = suite.runpytest_subprocess("-q", "-p", "no:anyio", "-W", "ignore::DeprecationWarning")
    text = done.stdout.str()
    failures = dict(re.findall(r"^E   unstall.Stalled: (\S+) blocked the event loop\n((?:E  .*\n)+)", text, re.M))
    failed = {way_of(test): said for test, said in failures.items()}
    assert set(failed) == {*CALLS, "lifespan", "ws"}, text
    for way, said in failed.items():
        assert RULES.get(way, "UNS101 time.sleep") in said, said
        line = LINES[way] + (way == "file")  # Opening waits for a writer, then reading does: the latter is heard.
        assert re.search(rf"stalls_app.py:{line} in ", said), said
    assert len(NEGATIVE) == int(re.findall(r"(\d+) passed", text)[-1])
