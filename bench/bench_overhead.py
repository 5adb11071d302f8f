"""Measures what watching costs a busy server: requests per CPU second and per second, with by without.

    python bench/bench_overhead.py [--rounds 30] [--loops uvloop asyncio] [--ways run code same]

Both servers live side by side, each with a wrk of its own, and take turns of a tenth of a second: the other's wrk is stopped
meanwhile. So whatever the machine does meets both alike. A block is twenty such turns of each and gives one ratio. Two
processes of one program differ by a percent or two for as long as they live, so each round starts all servers anew, in random
order, and gives one ratio, the mean of its blocks. The CPU counted is the scheduler's, of the server's threads and of its
observer, in its own turns only. `same` compares the plain server with another one like it: what the method itself invents.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import mean

from bench_watch import cpu_s, free_port, observers

from unstall.runtime.inject import environment

HERE = Path(__file__).parent


class Server:
    """One uvicorn: ``plain``, ``run`` (as `unstall run` starts it) or ``code`` (`app = watch(app)`)."""

    def __init__(self, way: str, loop: str, cpu: int | None) -> None:
        self.port, self.cpu = free_port(), cpu
        app = "plain_app:watched" if way == "code" else "plain_app:app"
        added = environment(threshold_s=0.1) if way == "run" else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", app, "--port", str(self.port), "--loop", loop,
             "--log-level", "warning", "--no-access-log"],
            cwd=HERE,
            env={**os.environ, "UNSTALL_LOG": "off", "PYTHONHASHSEED": "0", **added},
        )  # fmt: skip
        until = time.monotonic() + 30
        while time.monotonic() < until and not self._answers():
            time.sleep(0.05)
        time.sleep(1)
        self.pids = [self.process.pid, *observers(self.process.pid)]
        for pid in self.pids if cpu is not None else ():
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(task), {cpu})

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.pids))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Load:
    """A wrk on one server, held back except in its turns."""

    def __init__(self, server: Server) -> None:
        self.server, self.wall_s, cpu_s = server, 0.02, server.cpu_s()
        command = ["wrk", "-t1", "-c16", "-d600s", f"http://127.0.0.1:{server.port}/"]
        if server.cpu is not None:
            command = ["taskset", "-c", str(1 - server.cpu), *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.02)  # its connections
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(0.008)
        self.cpu_s = server.cpu_s() - cpu_s

    def turn(self, seconds: float) -> None:
        cpu_s, began = self.server.cpu_s(), time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGSTOP)
        took_s = time.monotonic() - began
        time.sleep(0.008)  # what was asked before is still answered
        self.cpu_s += self.server.cpu_s() - cpu_s
        self.wall_s += took_s

    def end(self) -> int:
        """How many requests were answered."""
        cpu_s = self.server.cpu_s()
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.02)  # its first thread has to run to be the one that is told
        self.process.send_signal(signal.SIGINT)
        text = self.process.communicate(timeout=30)[0]
        self.cpu_s += self.server.cpu_s() - cpu_s
        self.wall_s += 0.02
        return next(int(row.split()[0]) for row in text.splitlines() if "requests in" in row)


def block(plain: Server, other: Server, turns: int, turn_s: float) -> tuple[float, float]:
    """Requests per CPU second and per second, of the other by the plain one."""
    loads = [Load(plain), Load(other)]
    for _ in range(turns):
        for load in random.sample(loads, 2):
            load.turn(turn_s)
    (a, b), (plain_load, load) = [each.end() for each in loads], loads
    return b / load.cpu_s / (a / plain_load.cpu_s), b / load.wall_s / (a / plain_load.wall_s)


def interval(ratios: list[float]) -> str:
    """Mean with its 95 % interval, of the logarithms, without the tenth that the machine disturbed most."""
    middle = statistics.median(ratios)
    kept = sorted(ratios, key=lambda ratio: abs(ratio - middle))[: max(2, len(ratios) * 9 // 10)]
    half = 1.96 * statistics.stdev(kept) / len(kept) ** 0.5
    all_half = 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5
    return (
        f"all {len(ratios)}: {mean(ratios):.4f} ({mean(ratios) - all_half:.4f} to {mean(ratios) + all_half:.4f}); the {len(kept)} nearest their "
        f"middle: {mean(kept):.4f} ({mean(kept) - half:.4f} to {mean(kept) + half:.4f})"
    )


def one_round(loop: str, ways: list[str], options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """The two ratios of each way, its servers and the plain one started anew."""
    cpu = 1 if options.pinned and os.cpu_count() == 2 else None
    servers: dict[str, Server] = {}
    try:
        for way in random.sample(["plain", *ways], 1 + len(ways)):
            servers[way] = Server(way, loop, cpu)
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for i in range(1 + options.blocks):
            for way in random.sample(ways, len(ways)):
                ratios = block(servers["plain"], servers[way], options.turns if i else 2, options.turn)
                if i:  # the first one warms up
                    found[way].append(ratios)
        return {way: (mean(a for a, _ in pairs), mean(b for _, b in pairs)) for way, pairs in found.items()}
    finally:
        for server in servers.values():
            server.stop()


def compare(loop: str, ways: list[str], options: argparse.Namespace) -> None:
    rounds = [one_round(loop, ways, options) for _ in range(options.rounds)]
    for way in ways:
        print(f"{loop}, {way}: requests per CPU second, with/without: {interval([each[way][0] for each in rounds])}")
        print(f"{loop}, {way}: requests per second, with/without: {interval([each[way][1] for each in rounds])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--blocks", type=int, default=2, help="in a round")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--turn", type=float, default=0.1, help="seconds")
    parser.add_argument("--loops", nargs="+", default=["uvloop", "asyncio"])
    parser.add_argument("--ways", nargs="+", default=["run", "code"], choices=["run", "code", "same"])
    parser.add_argument("--pinned", action="store_true", help="servers and wrk each on a processor of their own")
    options = parser.parse_args()
    for loop in options.loops:
        compare(loop, options.ways, options)


if __name__ == "__main__":
    main()
