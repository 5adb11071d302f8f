"""Mixed load with random stalls while everything around it fails: nothing lost, nothing invented, nothing leaked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import Server, line_of, wait_for
from tests.runtime.test_observer import children

from unstall.runtime.inject import SITE

STALLS = {"/sleep/0.3": "helper", "/depends": "dependency", "/background": "background", "/gil": "gil"}
HEALTHY = ("/health", "/awaits/0.05", "/thread", "/short")
CLOCK = """
import mmap, os, struct, time
_shift = mmap.mmap(os.open(os.environ["CLOCK_SHIFT"], os.O_RDWR), 8)
_true = time.time
time.time = lambda: _true() + struct.unpack_from("d", _shift)[0]
"""


class Follower(threading.Thread):
    """Reads a record as it grows, through rotation and while a full disk stands in its place."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.done = path, threading.Event()
        self.events: list[dict[str, Any]] = []
        self.start()

    def run(self) -> None:
        file: Any = None
        while True:
            last = self.done.is_set()
            with contextlib.suppress(OSError):
                there = os.stat(self.path)
                moved = file is None or os.fstat(file.fileno()).st_ino != there.st_ino
                if moved and not self.path.is_symlink():
                    self._read(file)
                    if file is not None:
                        file.close()
                    file = self.path.open("rb")
                self._read(file)
            if last:
                file.close()
                return
            time.sleep(0.2)

    def _read(self, file: Any) -> None:
        while file is not None:
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(-len(line), os.SEEK_CUR)
                return
            with contextlib.suppress(ValueError):  # a disk that filled up cut it
                self.events.append(json.loads(line))


class Trouble:
    """What goes wrong around one server, and when it did: nothing but these may cost a request or a record."""

    def __init__(self, server: Server, shift: Path, chance: random.Random) -> None:
        self.server, self.shift, self.chance = server, shift, chance
        self.follower = Follower(server.record)
        self.spared = server.wait_events("started", 1, 60)[0]["pid"]
        self.kills: list[float] = []
        self.unrecorded: list[tuple[float, float]] = []

    def kill_an_observer(self) -> None:
        workers = [pid for pid in children(self.server.process.pid) if pid != os.getpid()]
        with contextlib.suppress(OSError):
            for worker in workers:
                for pid in children(worker):
                    observes = b"unstall.runtime.observer" in Path(f"/proc/{pid}/cmdline").read_bytes()
                    if observes and self.chance.random() < 0.5:
                        self._kill(pid)

    def kill_a_worker(self) -> None:
        alive = [e["pid"] for e in self.follower.events if e["event"] == "started" and e["pid"] != self.spared]
        for pid in alive[-1:]:
            self._kill(pid)

    def _kill(self, pid: int) -> None:
        self.kills.append(time.monotonic())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.kills.append(time.monotonic())

    def fill_the_disk(self, seconds: float) -> None:
        """A device that takes nothing stands where the record is; then the record again, as it was."""
        record = self.server.record
        aside, full = record.with_suffix(".aside"), record.with_suffix(".full")
        full.symlink_to("/dev/full")
        began = time.monotonic()
        os.replace(record, aside)
        os.replace(full, record)
        time.sleep(seconds)
        os.replace(aside, record)
        self.unrecorded.append((began, time.monotonic()))

    def step_the_clock(self) -> None:
        self.shift.write_bytes(struct.pack("d", self.chance.uniform(-86_400, 86_400)))

    def near(self, began: float, ended: float, margin_s: float) -> bool:
        """True where the span touches any trouble."""
        spans = [(at, at) for at in self.kills] + self.unrecorded
        return any(began - margin_s <= b and a <= ended + margin_s for a, b in spans)


def resident_kb(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:"))


def client(
    server: Server, until: float, paths: list[str], pause_s: float, chance: random.Random, asked: list[Any]
) -> None:
    while time.monotonic() < until:
        path, began = chance.choice(paths), time.monotonic()
        try:
            failure = "" if server.get(path, 60) == 200 else "status"
        except OSError as error:
            failure = repr(error)
        asked.append((path, began, time.monotonic(), failure))
        time.sleep(pause_s * chance.random())


@contextlib.contextmanager
def load(server: Server, until: float, asked: list[Any]) -> Iterator[None]:
    threads = [
        threading.Thread(target=client, args=(server, until, list(HEALTHY), 0.1, random.Random(n), asked))
        for n in range(3)
    ]
    threads.append(threading.Thread(target=client, args=(server, until, list(STALLS), 2.0, random.Random(9), asked)))
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("seconds", [120, pytest.param(1800, marks=pytest.mark.soak)])
def test_nothing_is_lost_invented_or_leaked(
    serve: Callable[..., Server], tmp_path: Path, seconds: int, soak_meanwhile: subprocess.Popen[str] | None
) -> None:
    if soak_meanwhile is not None and seconds == 120:
        told, _ = soak_meanwhile.communicate(timeout=400)
        sys.stdout.write(told)
        assert soak_meanwhile.returncode == 0, told
        return
    shift = tmp_path / "shift"
    shift.write_bytes(bytes(8))
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    server = serve(
        "--workers", "2", "--timeout-worker-healthcheck", "120",
        CLOCK_SHIFT=str(shift), PYTHONPATH=os.pathsep.join([SITE, str(tmp_path)]), UNSTALL_LOG="off",
    )  # fmt: skip
    chance = random.Random(seconds)
    server.wait_events("alive", 2, 60)
    trouble, asked, resident = Trouble(server, shift, chance), list[Any](), list[tuple[float, int]]()
    until = time.monotonic() + seconds
    with load(server, until, asked):
        time.sleep(seconds / 12)  # the interpreter's own heap settles
        descriptors = len(os.listdir(f"/proc/{trouble.spared}/fd"))
        ways: list[Callable[[], None]] = [
            trouble.kill_an_observer, trouble.kill_an_observer, trouble.kill_a_worker,
            trouble.step_the_clock, lambda: trouble.fill_the_disk(chance.uniform(1, 3)),
        ]  # fmt: skip
        while time.monotonic() < until - 5:
            time.sleep(chance.uniform(1, 6))
            chance.choice(ways)()
            resident.append((time.monotonic(), resident_kb(trouble.spared)))
    time.sleep(3)
    trouble.follower.done.set()
    trouble.follower.join(30)
    judge_requests(trouble, asked)
    judge_stalls(trouble, asked)
    judge_leaks(trouble, resident, descriptors)
    assert server.process.poll() is None


def judge_requests(trouble: Trouble, asked: list[Any]) -> None:
    """A request is lost only where its own worker was killed under it."""
    lost = [row for row in asked if row[3] and not any(row[1] - 0.5 <= at <= row[2] + 0.5 for at in trouble.kills)]
    assert lost == []
    assert len(asked) > 100


def judge_stalls(trouble: Trouble, asked: list[Any]) -> None:
    """The code is blamed for what it did and for nothing else, once each."""
    ended = [e for e in trouble.follower.events if e["event"] == "stall_ended"]
    lines = {line_of(mark): path for path, mark in STALLS.items()}
    blamed = [e for e in ended if e["blame"] == "code" and e["site"] and e["site"]["own"]]
    assert {e["site"]["line"] for e in blamed} <= set(lines), [e for e in blamed if e["site"]["line"] not in lines]
    assert len({(e["pid"], e["monotonic"]) for e in ended}) == len(ended), "a stall was told twice"
    told = [(e["monotonic"], lines.get(e["site"]["line"])) for e in ended if e["site"]]
    quiet = [row for row in asked if row[0] in STALLS and not trouble.near(row[1], row[2], 4.0)]
    missed = [row for row in quiet if not any(p == row[0] and row[1] - 1 <= at <= row[2] + 2 for at, p in told)]
    assert len(missed) <= 0.05 * len(quiet), (len(quiet), missed)
    sys.stdout.write(
        f"\n{len(asked)} requests, {len(ended)} stalls told; of {len(quiet)} far from trouble {len(missed)} missed; "
        f"{len(trouble.kills) // 2} kills, {len(trouble.unrecorded)} full disks\n"
    )


def judge_leaks(trouble: Trouble, resident: list[tuple[float, int]], descriptors: int) -> None:
    """The worker that was never killed is as large in the end as it was once it had settled."""
    assert len(os.listdir(f"/proc/{trouble.spared}/fd")) <= descriptors + 8
    settled = resident[len(resident) // 3 :]
    slope, _ = statistics.linear_regression(*zip(*settled, strict=True))
    grown_kb = slope * (settled[-1][0] - settled[0][0])
    noise_kb = statistics.pstdev(size for _, size in settled)
    sys.stdout.write(f"resident {settled[-1][1]} KB, grown {grown_kb:.0f} KB, noise {noise_kb:.0f} KB\n")
    assert grown_kb < 4_000
    wait_for(lambda: len(children(trouble.spared)) == 1, 60, lambda: f"observers: {children(trouble.spared)}")
