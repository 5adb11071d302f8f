"""Large projects in parts, and runs after edits: how the work is shared out never changes what is found."""

from __future__ import annotations

import errno
import marshal
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unstall.source import parallel, parts
from unstall.source.check import CheckReport, Options, check
from unstall.source.parallel import shared_out

HELPERS = """import threading
import time

lock = threading.Lock()


def quick():
    with lock:
        return 1


def slow():
    with lock:
        time.sleep(1)
"""
BODIES = (
    "return text.upper()",
    "time.sleep(1)\n    return text",
    "return other(text)",
    "return open(text).read()",
    "with lock:\n        return text",
)


def module_text(number: int, body: str, pause: bool) -> str:
    """A module that calls the one before it, and the helpers that all share."""
    before = number - 1 if number else 7
    return f"""import time

import shared
from shared import lock
from module_{before} import helper as other


def helper(text):
    {body}


class Service:
    def run(self, text):
        return helper(text)


async def first_{number}(text):
    return Service().run(text)


async def second_{number}():
    shared.{"slow" if pause else "quick"}()
    await first_{number}("x")
"""


def write(root: Path, seed: int) -> random.Random:
    """Eight modules that call each other in a circle."""
    rng = random.Random(seed)
    (root / "shared.py").write_text(HELPERS)
    for number in range(8):
        edit(root, rng, number)
    return rng


def edit(root: Path, rng: random.Random, number: int) -> None:
    """Write one module anew."""
    lines = "\n" * rng.randrange(3)
    (root / f"module_{number}.py").write_text(lines + module_text(number, rng.choice(BODIES), rng.random() < 0.2))


def found(root: Path, jobs: int = 1, cache: bool = False) -> CheckReport:
    """A report, without what tells how it came about."""
    report = check(root, Options(cache=cache, jobs=jobs, notes=True))
    return replace(report, stats=replace(report.stats, parsed_now=0))


@pytest.mark.parametrize("seed", [1, 2])
def test_parts_find_the_same_in_one_process_and_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    write(tmp_path, seed)
    whole = found(tmp_path)
    monkeypatch.setattr(parts, "_LINES", 5)
    alone = found(tmp_path, jobs=1)
    assert found(tmp_path, jobs=2) == alone
    assert {f.key for f in alone.findings} == {f.key for f in whole.findings}
    assert alone.findings


def test_a_part_hears_from_the_others_that_a_lock_is_held_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared.py").write_text(HELPERS)
    (tmp_path / "a.py").write_text("import shared\n\n\nasync def a():\n    shared.quick()\n" + "\n" * 100)
    (tmp_path / "b.py").write_text("import shared\n\n\nasync def b():\n    shared.slow()\n" + "\n" * 100)

    def severities() -> list[str]:
        return [f.severity for f in found(tmp_path).findings if f.site.qualname == "quick"]

    assert severities() == ["error"]
    monkeypatch.setattr(parts, "_LINES", 50)
    assert severities() == ["error"]
    (tmp_path / "b.py").write_text("\n" * 100)
    assert severities() == ["note"]


@pytest.mark.parametrize("worker", ["raise SystemExit(3)", "print('no answer')"])
def test_a_lost_worker_costs_time_and_no_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: str) -> None:
    write(tmp_path, 3)
    monkeypatch.setattr(parts, "_LINES", 5)
    alone = found(tmp_path, jobs=1)
    monkeypatch.setattr(parts, "_WORKER", worker)
    monkeypatch.setattr(parallel, "_may_fork", lambda: False)
    assert found(tmp_path, jobs=2) == alone


def test_workers_that_are_started_anew_find_what_forks_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 4)
    monkeypatch.setattr(parts, "_LINES", 5)
    monkeypatch.setattr(parallel, "_may_fork", lambda: True)
    forked = found(tmp_path, jobs=2)
    monkeypatch.setattr(parallel, "_may_fork", lambda: False)
    assert found(tmp_path, jobs=2) == forked == found(tmp_path, jobs=1)


def test_what_a_fork_does_not_deliver_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_may_fork", lambda: True)
    here = os.getpid()

    def work(piece: int) -> tuple[int, bool]:
        if os.getpid() != here and piece > 5:
            os._exit(1)
        time.sleep(0.01)  # so that the other process has its share
        return piece, os.getpid() == here

    done = shared_out(range(30), work, 3, "", lambda: b"")
    assert [piece for piece, _ in done] == list(range(30))
    assert all(own for piece, own in done if piece > 5)


@pytest.mark.parametrize(("call", "allowed"), [("fork", 0), ("pipe", 0), ("pipe", 1)])
def test_where_no_process_may_be_made_the_work_is_done_here_and_nothing_stays_open(
    monkeypatch: pytest.MonkeyPatch, call: str, allowed: int
) -> None:
    made, left = getattr(os, call), [None] * allowed

    def refused() -> Any:
        if not left:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        left.pop()
        return made()

    monkeypatch.setattr(parallel, "_may_fork", lambda: True)
    monkeypatch.setattr(os, call, refused)
    before = os.listdir("/proc/self/fd")
    assert shared_out(range(5), lambda piece: piece * 2, 3, "", lambda: b"") == [0, 2, 4, 6, 8]
    assert os.listdir("/proc/self/fd") == before


LARGE = [bytes([number]) * 3_000_000 for number in range(24)]


def same(piece: bytes) -> bytes:
    time.sleep(0.05)  # so that the other process has its share
    return piece


def test_pieces_and_answers_larger_than_any_pipe_do_not_wait_for_each_other() -> None:
    code = "from unstall.source.parallel import serve; serve(lambda _: lambda piece: piece)"
    found: list[list[bytes]] = []
    thread = threading.Thread(
        target=lambda: found.append(shared_out(LARGE, same, 2, code, lambda: marshal.dumps(None))), daemon=True
    )
    thread.start()
    thread.join(60)
    assert found == [LARGE]


def test_neither_do_those_of_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_may_fork", lambda: True)
    assert shared_out(LARGE, same, 3, "", lambda: b"") == LARGE


@pytest.mark.parametrize("lines", [5, 75_000])
@pytest.mark.parametrize("seed", range(4))
def test_a_warm_run_after_random_edits_finds_what_a_fresh_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, lines: int
) -> None:
    monkeypatch.setattr(parts, "_LINES", lines)
    rng = write(tmp_path, seed)
    found(tmp_path, cache=True)
    for _ in range(4):
        for number in rng.sample(range(8), rng.randrange(1, 4)):
            edit(tmp_path, rng, number)
        assert found(tmp_path, cache=True) == found(tmp_path)
    (tmp_path / "module_3.py").unlink()
    assert found(tmp_path, cache=True) == found(tmp_path)
