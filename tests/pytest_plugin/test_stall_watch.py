"""Stalls that no call of the catalogue explains: a warning when long, a failure where there is a budget."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from tests.pytest_plugin.test_frameworks import run

from unstall.pytest_plugin import stalls
from unstall.pytest_plugin.loops import Loops
from unstall.pytest_plugin.patches import Patches

pytest_plugins = ["pytester"]

SUITE = """
    import asyncio, re, time
    import pytest

    def spin(cpu_s):
        # The thread's own time: a machine that is busy with others makes it no longer.
        until = time.thread_time() + cpu_s
        while time.thread_time() < until:
            sum(range(1000))

    async def compute():
        spin(1.0)

    async def test_good_without_a_budget():
        await compute()

    @pytest.mark.unstall(budget=0.3)
    async def test_bad_budget():
        await compute()

    @pytest.mark.unstall(budget=30)
    async def test_good_budget():
        spin(0.1)

    @pytest.mark.unstall(budget=0.3, allow="time.sleep")
    async def test_good_explained():
        time.sleep(0.8)

    @pytest.mark.unstall(budget=0.3)
    async def test_good_waits_without_blocking():
        await asyncio.sleep(0.8)

    def test_bad_uvloop_holding_the_interpreter(unstall):
        import uvloop
        async def parse():
            re.match(r"(a+)+$", "a" * 25 + "b")
        uvloop.run(parse())
    test_bad_uvloop_holding_the_interpreter.pytestmark = [pytest.mark.unstall(budget=0.3)]
"""


def test_long_stalls_warn_and_budgets_fail_with_the_line(pytester: pytest.Pytester) -> None:
    failed, passed, text = run(pytester, "-o", "unstall_stall_warning=0.5", test_it=SUITE)
    assert failed == {"test_bad_budget", "test_bad_uvloop_holding_the_interpreter"}, text
    assert len(passed) == 4, text
    assert "StallWarning: the event loop did not come round for" in text
    assert "test_it.py:8 in spin, called from test_it.py:11 in compute" in text.replace(":7 in spin", ":8 in spin")
    assert "longer than the 300 ms of its budget" in text


def test_a_warning_is_never_an_error(pytester: pytest.Pytester) -> None:
    failed, passed, text = run(
        pytester, "-W", "error", "-o", "unstall_stall_warning=0.5", "-k", "without_a_budget", test_it=SUITE
    )
    assert passed == {"test_good_without_a_budget"} and not failed, text
    assert "1 warning" in text


def test_a_loop_that_ends_while_it_is_looked_at_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[stalls.Stalled] = []
    waited_s = stalls._waited_s

    def slowly(native_id: int) -> float:
        time.sleep(0.2)  # Reading /proc lets the loop's thread go on; on a busy machine to the end of its test.
        return waited_s(native_id)

    monkeypatch.setattr(stalls, "_waited_s", slowly)
    patches, loops = Patches(), Loops()
    loops.install(patches)
    watcher = stalls.Watcher(loops, 0.3, told.append)
    watcher.start()

    async def parse() -> None:
        assert not re.match(r"(a+)+$", "a" * 24 + "b")

    try:
        asyncio.run(parse())
        watcher.settle()
    finally:
        patches.undo()
        watcher.stop()
    (stall,) = told
    assert stall.blocked_s > 0.3
    assert "parse" in [function.rpartition(".")[2] for *_, function in stall.places]
