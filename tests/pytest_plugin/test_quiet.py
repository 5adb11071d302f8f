"""What must raise no alarm: the harness's own doings, what would not wait, and everything while the plugin is off."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.pytest_plugin.test_frameworks import run

pytest_plugins = ["pytester"]

HARNESS = """
    import asyncio, faulthandler, json, linecache, logging, os, pathlib, pdb, queue, sys, tempfile, threading
    import time, traceback, warnings, weakref
    from concurrent.futures import Future, ThreadPoolExecutor
    from unittest import mock

    import pytest
    from inline_snapshot import snapshot

    async def test_pytests_own(tmp_path, caplog, capsys, monkeypatch, request, recwarn):
        (tmp_path / "a.txt").write_text("x")
        print("to the terminal")
        logging.getLogger("x").warning("to the log")
        monkeypatch.setenv("A", "b")
        request.getfixturevalue("tmp_path_factory").mktemp("more")
        warnings.warn("shown with its line", UserWarning)
        with pytest.raises(AssertionError):
            assert [1, {"a": 2}] == [1, {"a": 3}]
        assert json.dumps([1, 2]) == snapshot("[1, 2]")

    async def test_tracebacks_and_dumps(tmp_path):
        linecache.clearcache()
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.format_exc()
        with open(tmp_path / "dump", "w") as file:
            faulthandler.dump_traceback(file)

    async def test_imports(tmp_path, monkeypatch):
        (tmp_path / "lazy_one.py").write_text("import os, time\\ntime.sleep(0.001)\\nos.system('true')")
        monkeypatch.syspath_prepend(tmp_path)
        import lazy_one
        import xml.dom.minidom

    async def test_a_debugger_waits_for_a_person(monkeypatch):
        waiting = {"__name__": "pdb"}
        exec(compile("import time\\ndef cmdloop(): time.sleep(0.001)", pdb.__file__, "exec"), waiting)
        waiting["cmdloop"]()

    async def test_threads_work_and_the_loop_goes_on():
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.001) for _ in range(8)))
        await asyncio.get_running_loop().run_in_executor(None, os.system, "true")
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        await asyncio.to_thread(thread.join)
        thread.join()

    async def test_what_would_not_wait():
        lock, box, done = threading.Lock(), queue.Queue(), Future()
        with lock:
            assert not lock.acquire(blocking=False)
        assert not lock.locked() and lock.acquire() and lock.release() is None
        box.put(1)
        assert box.get() == 1
        with pytest.raises(queue.Empty):
            box.get_nowait()
        done.set_result(1)
        assert done.result() == 1
        event = threading.Event()
        assert not event.wait(0)
        event.set()
        assert event.wait()
        time.sleep(0)
        threading.RLock().acquire()

    async def test_a_lock_held_for_a_moment():
        lock = threading.Lock()
        held = threading.Event()
        def hold():
            with lock:
                held.set()
                time.sleep(0.005)
        thread = threading.Thread(target=hold)
        thread.start()
        await asyncio.to_thread(held.wait)
        with lock:
            pass
        await asyncio.to_thread(thread.join)

    async def test_the_loops_own_sockets_and_children():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.read()
        writer.close()
        server.close()
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "1")
        assert await child.wait() == 0

    async def test_short_files_and_small_sums(tmp_path):
        path = tmp_path / "small"
        path.write_text("x" * 1000)
        assert path.exists() and os.listdir(tmp_path) and open(path).read()
        json.loads("[1]")
        import gzip, hashlib, zlib
        gzip.compress(b"x")
        zlib.compress(b"x" * 1000)
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10)

    async def test_a_mock_in_its_place():
        with mock.patch("time.sleep") as sleep:
            time.sleep(10)
        sleep.assert_called_once_with(10)

    async def test_finalizers_run_anywhere():
        class Slow:
            def __del__(self):
                pass
        folder = tempfile.TemporaryDirectory()
        del folder
"""


def test_the_harness_and_what_would_not_wait_raise_no_alarm(pytester: pytest.Pytester) -> None:
    failed, passed, text = run(
        pytester, "-W", "ignore", "--cov=.", "-o", "log_cli=true", "--log-level=DEBUG", test_it=HARNESS
    )
    assert not failed and len(passed) == 11, text
    assert "unstall" not in text.split("PASSES")[-1].split("short test summary")[0] or "please report" not in text, text


def test_short_calls_are_told_of_on_request_only(pytester: pytest.Pytester) -> None:
    suite = """
        import pathlib
        async def test_open(tmp_path):
            with open(tmp_path / "x", "w") as file:
                file.write("x")
        async def test_exists(tmp_path):
            pathlib.Path(tmp_path).exists()
        async def test_fixture_alone(tmp_path): ...
    """
    failed, _, text = run(pytester, test_it=suite)
    assert not failed, text
    failed, passed, text = run(pytester, "--unstall-notes", test_it=suite)
    assert failed == {"test_open", "test_exists"} and passed == {"test_fixture_alone"}, text
    assert "UNS104 open  test_it.py:3" in text and "UNS104 pathlib.Path.exists" in text


OFF = """
import json, sys, time, threading, socket
from pathlib import Path
def test_nothing_is_there():
    told = {
        "modules": sorted(name for name in sys.modules if name.startswith("unstall")),
        "patched": [hasattr(f, "__wrapped__") for f in (time.sleep, threading.Condition.wait, socket.getaddrinfo)],
        "meta_path": [type(finder).__name__ for finder in sys.meta_path],
    }
    Path("told.json").write_text(json.dumps(told))
"""


def test_a_plugin_that_nobody_asked_for_loads_one_module_and_touches_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(OFF)
    pytester.runpytest_subprocess("-q", "-p", "no:asyncio", "-p", "no:aiohttp").assert_outcomes(passed=1)
    told = json.loads((pytester.path / "told.json").read_text())
    assert [name for name in told["modules"] if not name.startswith("unstall.runtime")] == [
        "unstall",
        "unstall.pytest_plugin",
    ]
    assert told["patched"] == [False, False, False] and "Libraries" not in told["meta_path"]


def test_everything_is_put_back_when_a_session_ends() -> None:
    code = """
import sqlite3, sys, threading, time, pytest
lock, cursor = type(threading.Lock()), sqlite3.Cursor
before = [time.sleep, lock.acquire, lock.__enter__, cursor.execute, threading.Condition.wait, list(sys.meta_path)]
assert pytest.main(["-q", "--unstall", "-p", "no:asyncio", "-p", "no:aiohttp", "--collect-only", "/dev/null"]) in (4, 5)
after = [time.sleep, lock.acquire, lock.__enter__, cursor.execute, threading.Condition.wait]
assert after == before[:-1], (before, after)
assert not [finder for finder in sys.meta_path if type(finder).__name__ == "Libraries"]
with threading.Lock(): print("put back")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("put back"), done.stdout + done.stderr
