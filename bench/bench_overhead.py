"""Measures what watching costs a busy server: requests per CPU second and per second, with by without.

    python bench/bench_overhead.py [--rounds 10] [--loops uvloop asyncio] [--ways run code same] [--pinned | --shared]

One server under one wrk is watched and not watched by turns (`switched_app`): two processes of one program differ by three
percent for as long as they live, and two sets of connections to one server by more, since each finds a rhythm of its own.
Two turns one after the other give a ratio, a round of them its middle, and of the rounds' middles the interval is taken:
what the machine does meets both alike. Its speed wanders by a tenth within a second here, and falls to a half for moments,
so turns are short and the outer quarters of a round's ratios are left out; not shorter, since what is woken up once a turn
would count more than it does. Each round starts a server anew.
`--shared` has two servers on one processor, one watched and the other not, by turns: the scheduler changes between them
every few milliseconds, so that the machine's speed meets both alike and the ratios scatter by a tenth as much. Each has
half a processor then, so it is watched half as often: as often in a second of its work as where it has all of one.
The CPU counted is the scheduler's, of the server's threads and of its observer. `same` takes turns that differ in nothing:
what the method itself invents.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean, mean

from bench_watch import cpu_s, free_port, observers

from unstall.runtime.inject import environment

HERE = Path(__file__).parent
SETTLE_S = 0.03


class Server:
    """One uvicorn: ``plain``, ``run`` (as `unstall run` starts it) or ``code`` (`app = watch(app)`)."""

    def __init__(self, way: str, loop: str, cpu: int | None, shared_by: int = 1) -> None:
        self.port, self.cpu = free_port(), cpu
        app = "switched_app:watched" if way == "code" else "switched_app:app"
        added = environment() if way == "run" else {}
        added |= {"SHARED_BY": str(shared_by), "UNSTALL_THRESHOLD": str(0.1 * shared_by)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", app, "--port", str(self.port), "--loop", loop,
             "--log-level", "warning", "--no-access-log"],
            cwd=HERE,
            env={**os.environ, "UNSTALL_LOG": "off", "PYTHONHASHSEED": "0", **added},
        )  # fmt: skip
        until = time.monotonic() + 30
        while time.monotonic() < until and not self._answers():
            time.sleep(0.05)
        self.watch(True)
        time.sleep(1.5)  # until its sampler's thread has been round, which then knows of the turns
        self.pids = [self.process.pid, *observers(self.process.pid)]
        for task in os.listdir(f"/proc/{self.process.pid}/task") if cpu is not None else ():
            os.sched_setaffinity(int(task), {cpu})
        for pid in self.pids[1:] if cpu is not None else ():
            os.sched_setaffinity(pid, {1 - cpu})  # where the scheduler puts it: the server's is never free

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def watch(self, on: bool) -> int:
        """Have it watched from now on, or not; how many requests it had answered until then."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/watching/{'on' if on else 'off'}", timeout=30
        ) as answer:
            return int(answer.read())

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.pids))

    def stop(self) -> None:
        self.watch(True)  # an observer that is asleep would never end
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def turn(servers: list[tuple[Server, bool]], seconds: float) -> list[tuple[float, float]]:
    """Requests per CPU second and per second of each, once what was asleep is awake and has looked around."""
    for server, watched in servers:
        server.watch(watched)
    time.sleep(SETTLE_S)
    before = [(server.watch(watched), server.cpu_s(), time.monotonic()) for server, watched in servers]
    time.sleep(seconds)
    rates = []
    for (server, watched), (answered_before, used_before, began) in zip(servers, before, strict=True):
        answered = server.watch(watched) - answered_before
        used_s, took_s = server.cpu_s() - used_before, time.monotonic() - began
        rates.append((answered / used_s, answered / took_s))
    return rates


def one_round(loop: str, way: str, options: argparse.Namespace) -> tuple[float, float]:
    """The middles of the two ratios, watched by not watched, of a server started anew, or of two that share."""
    cpu = 1 if options.pinned or options.shared else None
    pinned = ["taskset", "-c", "0"] if cpu is not None else []
    ratios = []
    with contextlib.ExitStack() as running:
        servers = []
        for _ in range(1 + options.shared):
            servers.append(Server(way, loop, cpu, 1 + options.shared))
            running.callback(servers[-1].stop)
        for server in servers:
            url = f"http://127.0.0.1:{server.port}/"
            load = subprocess.Popen([*pinned, "wrk", "-t1", "-c16", "-d600s", url], stdout=subprocess.DEVNULL)
            running.callback(load.wait)
            running.callback(load.kill)
        for _ in range(2 + options.pairs):
            told: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
            for first in random.sample([False, True], 2):
                turns = [(server, first != bool(i)) for i, server in enumerate(servers)]
                for (_, watched), rates in zip(turns, turn(turns, options.turn), strict=True):
                    told[watched].append(rates)
            with_, without = (map(geometric_mean, zip(*told[watched], strict=True)) for watched in (True, False))
            ratios.append([a / b for a, b in zip(with_, without, strict=True)])
    return middle(a for a, _ in ratios[2:]), middle(b for _, b in ratios[2:])


def middle(ratios: Iterable[float]) -> float:
    """The mean of the logarithms, without the quarter on either side that the machine disturbed most."""
    logs = sorted(map(math.log, ratios))
    cut = len(logs) // 4
    return math.exp(mean(logs[cut : len(logs) - cut]))


def interval(ratios: list[float]) -> str:
    """Mean with its 95 % interval."""
    half = 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5
    return f"{mean(ratios):.4f} ({mean(ratios) - half:.4f} to {mean(ratios) + half:.4f}), {len(ratios)} rounds"


def compare(loop: str, ways: list[str], options: argparse.Namespace) -> None:
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way in random.sample(ways, len(ways)):
            found[way].append(one_round(loop, way, options))
            print(f"{loop}, {way}: {found[way][-1][0]:.4f}", file=sys.stderr, flush=True)
    for way, rounds in found.items():
        for i, unit in enumerate(("CPU second", "second")):
            print(f"{loop}, {way}: requests per {unit}, with/without: {interval([each[i] for each in rounds])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pairs", type=int, help="of turns in a round; 80, where two share 15")
    parser.add_argument("--turn", type=float, help="seconds; 0.12, where two share 1")
    parser.add_argument("--loops", nargs="+", default=["uvloop", "asyncio"])
    parser.add_argument("--ways", nargs="+", default=["run", "code"], choices=["run", "code", "same"])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--pinned", action="store_true", help="the server on a processor of its own, of two")
    where.add_argument("--shared", action="store_true", help="two servers on that processor")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: an interval takes at least 2")
    if (options.pinned or options.shared) and os.cpu_count() != 2:
        parser.error("--pinned and --shared are for a machine with two processors")
    options.pairs = options.pairs or (15 if options.shared else 80)
    options.turn = options.turn or (1.0 if options.shared else 0.12)
    for loop in options.loops:
        compare(loop, options.ways, options)


if __name__ == "__main__":
    main()
