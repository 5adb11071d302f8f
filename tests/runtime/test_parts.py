"""The parts that need no server: accounts, dumps, the mapping, the recorder, what is said."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from unstall.runtime.aftermath import open_stalls
from unstall.runtime.capture import Capture, parse
from unstall.runtime.cause import Books, Ledger, blame, start_ticks
from unstall.runtime.evidence import Episode, Sample, site
from unstall.runtime.mapping import RING, SLOTS, Shared
from unstall.runtime.own import OwnFiles
from unstall.runtime.recorder import Recorder, to_json
from unstall.runtime.routes import RouteTable, rows_of
from unstall.runtime.rules import Rules
from unstall.runtime.story import MESSAGE_BYTES, Limit, TerminationMessage, sentence


class FakeBooks:
    """Accounts that say what the test wants them to."""

    def __init__(self) -> None:
        self.cpu_s = self.wait_s = self.quota_s = self.stolen_s = 0.0
        self.letter, self.where, self.count = "S", "hrtimer_nanosleep", 0

    def ran_and_waited(self) -> tuple[float, float]:
        return self.cpu_s, self.wait_s

    def throttled(self) -> float:
        return self.quota_s

    def state(self) -> str:
        return self.letter

    def waits_in(self) -> str:
        return self.where

    def switches(self) -> int:
        return self.count

    def processor(self) -> int:
        return 0

    def stolen(self, processor: int) -> float:
        return self.stolen_s


def breakdown(books: FakeBooks, steps: list[dict[str, Any]], step_s: float = 0.1) -> dict[str, float | None]:
    ledger = Ledger(books)  # type: ignore[arg-type]
    ledger.healthy(100.0, 0.0)
    ledger.begin(100.0, 0.0)
    now = 100.0
    for changes in steps:
        now += step_s
        for name, value in changes.items():
            setattr(books, name, value)
        ledger.step(now)
    return ledger.breakdown(now, 0.0, 0.0)


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ([{}, {}, {}], "syscall_s"),
        ([{"cpu_s": 0.1, "letter": "R", "where": ""}, {"cpu_s": 0.2}, {"cpu_s": 0.3}], "cpu_s"),
        ([{"letter": "R", "where": "", "wait_s": 0.1}, {"wait_s": 0.2}, {"wait_s": 0.3}], "run_queue_s"),
        ([{"letter": "R", "where": "", "quota_s": 0.1}, {"quota_s": 0.2}, {"quota_s": 0.3}], "throttled_s"),
        (
            [{"letter": "R", "where": "", "quota_s": 0.1, "wait_s": 0.1}, {"quota_s": 0.3, "wait_s": 0.3}, {}],
            "throttled_s",
        ),
        ([{"letter": "T", "where": "do_signal_stop"}, {}, {}], "suspended_s"),
        ([{"where": "futex_wait_queue"}, {}, {}], "lock_s"),
        ([{"where": "futex_wait_queue", "count": 20}, {"count": 40}, {"count": 60}], "gil_s"),
    ],
)
def test_the_time_of_a_stall_goes_to_what_took_it(steps: list[dict[str, Any]], cause: str) -> None:
    parts = breakdown(FakeBooks(), steps)
    assert max(parts, key=lambda name: parts[name] or 0.0) == cause
    assert sum(value or 0.0 for name, value in parts.items() if name != "gc_s") <= 0.3 + 1e-6


def test_a_wait_for_a_processor_counts_before_the_kernel_has_booked_it() -> None:
    waiting = {"letter": "R", "where": "", "cpu_s": 0.02}
    assert breakdown(FakeBooks(), [waiting, {}])["run_queue_s"] == pytest.approx(0.18)
    # Booked when it is over, it is not counted again.
    parts = breakdown(FakeBooks(), [waiting, {}, {"wait_s": 0.18, "cpu_s": 0.12}])
    assert (parts["run_queue_s"], parts["cpu_s"]) == (pytest.approx(0.18), pytest.approx(0.12))


def test_a_short_freeze_of_the_machine_does_not_excuse_a_sleep() -> None:
    ledger = Ledger(FakeBooks())  # type: ignore[arg-type]
    ledger.healthy(100.0, 0.0)
    ledger.begin(100.0, 0.0)
    ledger.step(100.2, overslept_s=0.15)
    assert blame(0.2, ledger.breakdown(100.2, 0.0, 0.0), 0.1) == "code"
    ledger.step(102.2, overslept_s=1.9)
    assert ledger.breakdown(102.2, 0.0, 0.0)["suspended_s"] == pytest.approx(1.9)


def test_throttling_of_another_thread_does_not_excuse_a_sleep() -> None:
    parts = breakdown(FakeBooks(), [{}, {"quota_s": 0.2}, {"quota_s": 0.3}])
    assert parts["throttled_s"] == 0.0
    assert blame(0.3, parts, 0.1) == "code"


def test_a_sleep_that_a_hypervisor_kept_from_ending_is_not_the_codes() -> None:
    # Of a sleep of 20 ms, seen after 100 ms: its processor was given to others, which is booked when it is back.
    parts = breakdown(FakeBooks(), [{}, {"stolen_s": 0.15}], 0.085)
    assert (parts["run_queue_s"], parts["syscall_s"]) == (pytest.approx(0.15), pytest.approx(0.02))
    assert blame(0.17, parts, 0.1) == "environment"


def test_what_is_taken_in_the_middle_of_a_sleep_does_not_excuse_it() -> None:
    parts = breakdown(FakeBooks(), [{}, {"stolen_s": 0.05}, {"stolen_s": 0.1}])
    assert (parts["run_queue_s"], parts["syscall_s"]) == (0.0, pytest.approx(0.3))
    assert blame(0.3, parts, 0.1) == "code"


def test_the_books_know_what_was_taken_from_the_processor_a_thread_ran_on() -> None:
    books = Books(os.getpid(), os.getpid())
    processor = books.processor()
    assert processor in os.sched_getaffinity(0)
    row = next(r for r in Path("/proc/stat").read_text().splitlines() if r.startswith(f"cpu{processor} "))
    assert 0.0 <= books.stolen(processor) - int(row.split()[8]) / os.sysconf("SC_CLK_TCK") < 1.0
    assert books.stolen(-1) == 0.0
    books.close()


def test_code_is_blamed_only_where_the_rest_reaches_the_threshold() -> None:
    assert blame(0.3, {"run_queue_s": 0.15}, 0.1) == "code"
    assert blame(0.3, {"run_queue_s": 0.15, "throttled_s": 0.1}, 0.1) == "environment"


def test_a_loop_that_only_waits_is_not_blamed_for_its_wait() -> None:
    waiting: dict[str, float | None] = {"syscall_s": 0.09, "cpu_s": 0.01}
    assert blame(0.1, waiting, 0.04, seen=True) == "code"
    assert blame(0.1, waiting, 0.04, seen=False) == "environment"
    # Another thread that holds the GIL is code all the same.
    assert blame(0.3, {"gil_s": 0.25, "syscall_s": 0.05}, 0.1, seen=False) == "code"
    assert blame(0.6, {"gil_s": 0.12, "run_queue_s": 0.45}, 0.1, seen=False) == "environment"
    episode = Episode(0.0, 0.1)
    assert not episode.located
    episode.add(Sample(0.1, (("/usr/lib/python3.11/asyncio/runners.py", 118, "run", False),)))
    assert not episode.located
    episode.add(Sample(0.2, (("/app/pay.py", 3, "pay", True),)))
    assert episode.located


def test_a_collection_beside_short_callbacks_is_not_held_against_the_code_but_a_long_one_is() -> None:
    assert blame(0.12, {"cpu_s": 0.12, "gc_s": 0.06}, 0.1) == "environment"
    assert blame(0.12, {"cpu_s": 0.12, "gc_s": 0.06}, 0.1, over=False) == "environment"
    assert blame(0.3, {"cpu_s": 0.3, "gc_s": 0.29}, 0.1) == "code"
    assert blame(0.3, {"cpu_s": 0.3, "gc_s": 0.06}, 0.1) == "code"
    assert blame(0.12, {"cpu_s": 0.12, "gc_s": 0.0}, 0.1) == "code"


@pytest.mark.parametrize(
    ("cause", "words"),
    [({"run_queue_s": 0.2}, "no free processor 0.20 s"), ({"throttled_s": 0.3}, "the CPU limit 0.30 s"),
     ({"suspended_s": 0.3}, "the process was stopped 0.30 s"), ({"syscall_s": 0.1}, "woken up late")],
)  # fmt: skip
def test_a_line_says_what_it_was_where_it_was_not_the_code(cause: dict[str, float | None], words: str) -> None:
    episode = Episode(0.0, 0.1)
    episode.cause, episode.blame = cause, "environment"
    line = sentence("event loop blocked", episode.event("stall_began", 0.1, 0.0, {}))
    assert line == f"event loop blocked  0.10 s so far  not the code: {words}"


DUMP = """Stack (most recent call first):
  File "/usr/lib/python3.11/json/decoder.py", line 353 in raw_decode
  File "/app/a, line 3.py", line 12 in <lambda>
Stack (most recent call first):
  File "/app/b.py", line 7 in work
"""


def test_the_last_stack_of_a_dump_is_read_with_odd_names() -> None:
    own = OwnFiles(below=("/app/",), bin_="")
    assert parse(DUMP, own) == (("/app/b.py", 7, "work", True),)
    first = parse(DUMP[: DUMP.rindex("Stack")], own)
    assert first[1] == ("/app/a, line 3.py", 12, "<lambda>", True)
    assert not first[0][3]


def test_the_signal_is_not_sent_to_a_process_that_would_die_of_it() -> None:
    """`sleep` stands for a process that was replaced by exec: same pid, no handler."""
    child = subprocess.Popen(["sleep", "30"])
    try:
        time.sleep(0.1)
        books = Books(child.pid, child.pid)
        with open(os.devnull, "rb") as dump:
            right = Capture(child.pid, child.pid, start_ticks(child.pid), 12, dump.fileno(), books)
            assert not right.allowed()
            assert right.take(OwnFiles()) == ()
            other = Capture(child.pid, child.pid, start_ticks(child.pid) + 1, 12, dump.fileno(), books)
            assert not other.allowed()
        time.sleep(0.1)
        assert child.poll() is None
        books.close()
    finally:
        child.kill()
        child.wait()


def test_a_gone_process_has_empty_accounts() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    books = Books(child.pid, child.pid)
    assert (books.ran_and_waited(), books.state(), books.throttled()) == (None, "", 0.0)


def test_slots_hold_what_is_in_flight_and_run_out_quietly() -> None:
    shared = Shared()
    slots = [shared.enter(f"GET /{i}") for i in range(SLOTS + 3)]
    assert slots[-3:] == [0, 0, 0]
    for slot in slots[1:]:
        shared.leave(slot)
    assert shared.in_flight(10) == ["GET /0"]
    assert shared.enter("GET /ü" + "x" * 500) > 0
    assert len(shared.in_flight(10)) == 2


def test_a_blob_is_read_whole_once_or_not_at_all() -> None:
    shared = Shared()
    assert shared.evidence.write((1.5, "a", None))
    assert shared.evidence.read_new() == (1.5, "a", None)
    assert shared.evidence.read_new() is None
    assert not shared.evidence.write("x" * 100_000)
    shared.evidence.write("torn")
    shared.bytes[shared.bytes.find(b"torn")] = 0
    assert shared.evidence.read_new() is None


def test_gaps_are_kept_in_a_ring() -> None:
    shared = Shared()
    for i in range(RING + 5):
        shared.add_gap(float(i), i + 0.5, 0.1)
    total, gaps = shared.gaps_since(0)
    assert (total, len(gaps), gaps[-1][0]) == (RING + 5, RING, float(RING + 4))


def test_the_record_rotates_and_keeps_its_totals(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    recorder = Recorder(str(path), pytest.fail, lambda: {"event": "alive", "stalls": 7}, limit_bytes=2000)
    other = Recorder(str(path), pytest.fail, limit_bytes=2000)
    for i in range(100):
        assert (recorder if i % 2 else other).write({"event": "x", "i": i, "pad": "." * 50})
    assert path.stat().st_size <= 2100
    lines = [json.loads(line) for name in (f"{path}.1", path) for line in Path(name).read_text().splitlines()]
    assert [line["i"] for line in lines if "i" in line][-1] == 99
    numbers = [line["i"] for line in lines if "i" in line]
    assert numbers == list(range(numbers[0], 100))


def test_a_record_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    for path in (str(tmp_path / "no" / "such" / "folder"), "/dev/full"):
        said: list[str] = []
        recorder = Recorder(path, said.append)
        assert not recorder.write({"event": "x"})
        assert not recorder.write({"event": "y"})
        assert len(said) == 1
        assert "UNSTALL_RECORD" in said[0]
        assert recorder.lost == 2


@pytest.mark.parametrize("value", [None, True, 3, 1.5, 'ü\n"\\\u2028', [1, [2]], {"a": {"b": ()}}, {"1": False}, 1e300])
def test_our_json_is_what_the_json_package_reads(value: Any) -> None:
    assert json.loads(to_json(value)) == json.loads(json.dumps(value))


def test_one_line_a_minute_per_site_and_the_rest_is_counted() -> None:
    limit = Limit()
    assert limit.allows("a", 0.0) == (True, 0)
    assert limit.allows("a", 1.0) == (False, 0)
    assert limit.allows("b", 1.0) == (True, 0)
    assert limit.allows("a", 59.9) == (False, 0)
    assert limit.allows("a", 61.0) == (True, 2)


def record(depth: int) -> dict[str, Any]:
    episode = Episode(1.0, 0.1)
    frames = tuple((f"/app/{'d' * 200}/{i}.py", i, "f" * 80, True) for i in range(depth))
    episode.add(Sample(1.1, frames, "GET /a", "frame", "time.sleep"))
    episode.in_flight = tuple(f"GET /{'x' * 90}{i}" for i in range(20))
    return episode.event("stall_began", 0.1, 1000.0, {"host": "h", "pid": 1, "worker": 0})


def test_the_termination_message_is_one_json_line_of_at_most_4096_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    message = TerminationMessage(str(path))
    message.put(record(80))
    assert not path.exists(), "written only where it exists"
    path.touch()
    message.put(record(80))
    assert path.stat().st_size <= MESSAGE_BYTES
    assert json.loads(path.read_text())["site"]["line"] == 0
    path.write_text("the app's own last words")
    message.empty()
    assert path.read_text() == "the app's own last words"


def test_the_site_seen_most_often_stands_for_the_stall() -> None:
    episode = Episode(0.0, 0.1)
    for line, route in ((5, None), (9, None), (9, "GET /a"), (9, None)):
        episode.add(Sample(0.1, (("/app/x.py", line, "f", True),), route, "frame" if route else None))
    assert episode.guilty is not None
    assert (site(episode.guilty.stack), episode.guilty.route) == (("/app/x.py", 9, "f", True), "GET /a")


def test_of_two_sites_seen_as_often_the_apps_own_stands_for_the_stall() -> None:
    """Once a call that held the GIL is over, the first look from within may meet what clears up after the endpoint."""
    episode = Episode(0.0, 0.1)
    own = ("/app/x.py", 9, "f", True)
    episode.add(Sample(0.1, (own, ("/lib/routing.py", 3, "app", False)), "GET /a", "table"))
    episode.add(Sample(0.2, (("/lib/contextlib.py", 7, "exit", False),), "GET /a", "frame", "any"))
    assert episode.guilty is not None
    assert site(episode.guilty.stack) == own


def test_only_a_dead_process_of_this_host_has_open_stalls() -> None:
    me = {"host": "h", "pid": os.getpid(), "process": start_ticks(os.getpid())}
    dead = {"host": "h", "pid": os.getpid(), "process": 1}
    lines = [
        {**me, "event": "stall_began", "duration_s": 0.1},
        {**dead, "event": "stall_began", "duration_s": 0.1},
        {**dead, "event": "stall_update", "duration_s": 3.0},
        {**dead, "host": "other", "event": "stall_began", "duration_s": 0.1},
        {**dead, "process": 2, "event": "stall_began", "duration_s": 0.1},
        {**dead, "process": 2, "event": "stall_ended", "duration_s": 0.1},
    ]
    found = open_stalls([json.dumps(line).encode() for line in lines] + [b'{"half'], "h")
    assert [(e["process"], e["duration_s"]) for e in found] == [(1, 3.0)]


def test_a_stack_names_its_route_only_where_one_of_them_is_in_flight() -> None:
    from fastapi import Depends, FastAPI

    app = FastAPI()

    def shared_dependency() -> None: ...

    @app.get("/a/{id}", dependencies=[Depends(shared_dependency)])
    async def a() -> None: ...

    @app.get("/b", dependencies=[Depends(shared_dependency)])
    async def b() -> None: ...

    table = RouteTable()
    table.load(rows_of(app))
    here = __file__
    in_a = ((here, a.__code__.co_firstlineno + 1, "a", True),)
    in_both = ((here, shared_dependency.__code__.co_firstlineno, "shared_dependency", True),)
    assert table.find(in_a, ["GET /a/7"]) == ("GET /a/{id}", "table")
    assert table.find(in_both, ["GET /a/7", "GET /b"]) == (None, None)
    assert table.find(in_both, ["GET /b", "GET /c"]) == ("GET /b", "table")
    # Where it is not known what is in flight, the outermost must leave no choice.
    assert table.find(in_a, None) == ("GET /a/{id}", "table")
    assert table.find(in_both, None) == (None, None)
    assert table.find((*in_both, *in_a), None) == ("GET /a/{id}", "table")
    assert table.find((("/x.py", 1, "f", True),), None) == (None, None)
    assert table.label("GET /nothing") == "GET /nothing"


def test_installed_code_is_not_the_applications_own(tmp_path: Path) -> None:
    app = str(tmp_path)
    own = OwnFiles(below=(app + os.sep,), bin_=os.path.join(app, ".venv", "bin", ""))
    assert f"{app}/app/main.py" in own
    assert f"{app}/.venv/lib/python3.12/site-packages/x.py" not in own
    assert f"{app}/.venv/bin/uvicorn" not in own
    assert os.__file__ not in own
    assert "<frozen importlib._bootstrap>" not in own


def test_a_rule_is_looked_up_without_waiting_and_once() -> None:
    rules = Rules()
    rules.ask("time.sleep")
    rules.ask("no.such.call")
    assert rules.find(None) == (None, None)
    until = time.monotonic() + 60
    while rules.find("time.sleep") is None or rules.find("no.such.call") is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert rules.find("time.sleep") == ("UNS101", "await asyncio.sleep(...)")
    assert rules.find("no.such.call") == (None, None)


def test_a_waiting_loop_has_no_site() -> None:
    waiting = (("/usr/lib/python3.11/selectors.py", 468, "select", False), ("/x/asyncio/base_events.py", 1, "r", False))
    importing = (("<frozen importlib._bootstrap>", 1, "_load", False), ("/x/site-packages/lib/a.py", 3, "g", False))
    assert site(waiting) is None
    assert site(importing) == importing[1]


def test_the_app_inside_hypercorns_wrapper_is_watched_and_the_wrapper_left_alone() -> None:
    """hypercorn calls what it loads with five arguments, its `ASGIWrapper` the app with three."""
    from unstall.runtime import servers
    from unstall.runtime.asgi import Watched

    class ASGIWrapper:
        def __init__(self, app: object) -> None:
            self.app = app

    class WSGIWrapper(ASGIWrapper): ...

    for kind, watched in ((ASGIWrapper, True), (WSGIWrapper, False)):
        module = types.ModuleType("hypercorn.utils")
        module.wrap_app = lambda app, size, mode, kind=kind: kind(app)  # type: ignore[attr-defined]
        servers.patch_hypercorn(module)
        loaded = module.wrap_app(object(), 1, None)
        assert type(loaded) is kind
        assert isinstance(loaded.app, Watched) is watched


def test_another_loop_on_the_same_thread_is_watched_in_its_turn() -> None:
    from unstall import watch
    from unstall.runtime import asgi

    async def app(scope: object, receive: object, send: object) -> None: ...

    wrapped = watch(app, record="", observer=False)
    loops = []

    async def call() -> None:
        await wrapped({"type": "http", "path": "/", "method": "GET"}, None, None)  # type: ignore[arg-type]
        assert asgi._here.watch.loop is asyncio.get_running_loop()
        loops.append(asyncio.get_running_loop())

    for _ in range(2):
        asyncio.run(call())
    assert loops[0] is not loops[1]
