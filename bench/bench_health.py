"""Measures the health port: what it costs while all is well, and how soon it answers while nothing is.

    python bench/bench_health.py [--quick]

Every figure is printed as counted. The observer runs with all it can do: the port, the record, a probe of each kind
every 5 s (twice as many as a kubelet sends by default), a scrape every 15 s, both libraries' sinks in the app.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from unstall.runtime.inject import environment
from unstall.runtime.metrics import cpu_s, memory_bytes
from unstall.runtime.timing import QUIET_S

HERE = Path(__file__).parent
PROBE = b"GET %s HTTP/1.1\r\nHost: pod\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n"
ROW_CPU_S, ROW_MB = 0.05, 8.0
"""What runtime.md allows the observer: CPU seconds in 20 s idle, megabytes of its own."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """The app under uvicorn, watched; with ``port`` with a health port."""

    def __init__(self, folder: Path, port: int, sinks: str = "") -> None:
        self.port, self.health = free_port(), port
        extra = {"UNSTALL_HEALTH_PORT": str(port) if port else "", "UNSTALL_SINKS": sinks, "UNSTALL_LOG": "off"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "health_app:app", "--port", str(self.port), "--loop", "uvloop",
             "--log-level", "warning", "--no-access-log"],
            cwd=HERE,
            env={**os.environ, **environment(folder / f"record-{self.port}.jsonl", 0.1), **extra},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until and not self.get("/"):
            time.sleep(0.05)
        time.sleep(2)
        self.observer = next(pid for pid in children(self.process.pid))

    def get(self, path: str, timeout_s: float = 30) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout_s) as answer:
                answer.read()
                return True
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def exact_cpu_s(pid: int) -> float:
    """CPU seconds of all threads, as the scheduler counts them."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in tasks) / 1e9


def ask(port: int, path: bytes = b"/livez") -> int:
    """The status of one probe; 0 where nothing answers within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(PROBE % path)
            parts = []
            while part := s.recv(65_536):
                parts.append(part)
            return int(b"".join(parts)[9:12] or b"0")
    except (OSError, ValueError):
        return 0


def idle(folder: Path, seconds: float) -> None:
    for name, port, sinks, probed in (
        ("no health port", 0, "", False),
        ("health port, nobody asks", free_port(), "", False),
        ("all of it, probed and scraped", free_port(), "prometheus,otel", True),
    ):
        server = Server(folder, port, sinks)
        for _ in range(3 if probed else 0):
            server.get("/sleep/0.3")
        time.sleep(QUIET_S + 1)
        before, app_before, began = exact_cpu_s(server.observer), exact_cpu_s(server.process.pid), time.monotonic()
        asked = 0
        while time.monotonic() - began < seconds:
            if probed:
                for path in (b"/livez", b"/readyz") if asked % 5 == 0 else ():
                    ask(port, path)
                if asked % 15 == 0:
                    ask(port, b"/metrics")
                asked += 1
            time.sleep(1)
        per_20 = 20 / (time.monotonic() - began)
        spent, app = exact_cpu_s(server.observer) - before, exact_cpu_s(server.process.pid) - app_before
        memory = memory_bytes(server.observer) / 1_000_000
        print(
            f"idle, {name}: observer {spent * per_20:.3f} s CPU in 20 s (row: {ROW_CPU_S}), "
            f"{memory:.1f} MB PSS (row: {ROW_MB:.0f}), app {app * per_20:.3f} s"
        )
        server.stop()


def round_of(port: int, clients: int) -> list[float]:
    """Milliseconds from connecting to the whole answer of so many probes at once, sorted."""
    epoll, took = select.epoll(), []
    waiting: dict[int, tuple[socket.socket, float]] = {}
    for _ in range(clients):
        s = socket.socket()
        s.setblocking(False)
        waiting[s.fileno()] = s, time.monotonic()
        s.connect_ex(("127.0.0.1", port))
        epoll.register(s.fileno(), select.EPOLLOUT)
    while waiting:
        for fd, event in epoll.poll(5):
            s, began = waiting[fd]
            if event & select.EPOLLOUT:
                s.send(PROBE % b"/livez")
                epoll.modify(fd, select.EPOLLIN)
            elif not s.recv(4096):
                took.append((time.monotonic() - began) * 1000)
                s.close()
                del waiting[fd]
    epoll.close()
    return sorted(took)


def latency(folder: Path, rounds: int) -> None:
    for what in ("well", "in json.loads, which holds the GIL", "stopped"):
        server = Server(folder, free_port())
        if "json" in what:
            threading.Thread(target=server.get, args=("/json/60", 90), daemon=True).start()
            time.sleep(1)
        elif what == "stopped":
            os.kill(server.process.pid, signal.SIGSTOP)
        for clients in (1, 200):
            found = [round_of(server.health, clients) for _ in range(rounds)]
            p99 = sorted(times[int(len(times) * 0.99) - (clients > 1)] for times in found)
            print(
                f"app {what}, {clients} at once: p99 of a round: best {p99[0]:.1f} ms, "
                f"median {p99[len(p99) // 2]:.1f} ms, worst {p99[-1]:.1f} ms ({rounds} rounds)"
            )
        server.stop()


def hostile(folder: Path, requests: int) -> None:
    server = Server(folder, free_port())
    slow = []
    before = exact_cpu_s(server.observer)
    failed = 0
    for i in range(1000):
        s = socket.create_connection(("127.0.0.1", server.health), 5)
        s.send(b"GET /livez HT"[: i % 13])
        slow.append(s)
        if i % 20 == 19:
            failed += ask(server.health) != 200
    cpu = exact_cpu_s(server.observer) - before
    print(f"1,000 slow connections: {failed} of 50 probes failed, observer {cpu:.3f} s CPU for all")
    for s in slow:
        s.close()
    before, failed, began = exact_cpu_s(server.observer), 0, time.monotonic()
    for i in range(requests):
        with socket.create_connection(("127.0.0.1", server.health), 5) as s:
            s.send(os.urandom(60 + i % 300))
        if i % 1000 == 999:
            failed += ask(server.health) != 200
    cpu, took = exact_cpu_s(server.observer) - before, time.monotonic() - began
    print(
        f"{requests:,} malformed requests in {took:.0f} s: {failed} of {requests // 1000} probes failed, "
        f"{cpu / requests * 1e6:.0f} microseconds of CPU each, {memory_bytes(server.observer) / 1e6:.1f} MB PSS after"
    )
    assert cpu_s(server.observer) > 0
    server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        idle(folder, 5 if quick else 20)
        latency(folder, 5 if quick else 20)
        hostile(folder, 5_000 if quick else 100_000)


if __name__ == "__main__":
    main()
