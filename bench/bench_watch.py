"""Measures `watch`: stalls found, line, route, length, first evidence, survival, false alarms, idle cost.

    python bench/bench_watch.py

Every figure is printed as counted; what watching costs under load is measured by `bench_overhead.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from environment import interpreter
from slow_dns import asking_slowly

from unstall.runtime.inject import environment
from unstall.runtime.timing import QUIET_S

HERE = Path(__file__).parent
SOURCE = (HERE / "stalls_app.py").read_text().splitlines()
LINES = {row.split("# WAY: ")[1].strip(): n for n, row in enumerate(SOURCE, 1) if "# WAY: " in row}
SPECIAL = {
    "lifespan": None, "ws": "WEBSOCKET /ws", "deep": "GET /deep/{n}", "router": "GET /api/v1/orders/{order_id}",
    "mounted": "GET /below/reports/{name}", "router-held": "GET /api/v1/held/{n}",
}  # fmt: skip
PATHS = {
    "deep": "/deep/3", "router": "/api/v1/orders/3", "mounted": "/below/reports/may", "router-held": "/api/v1/held/3",
}  # fmt: skip
BEFORE: list[str] = []
"""What each server's command begins with."""
WARM = (
    "json", "dumps", "sort", "pydantic", "zlib", "requests", "numpy", "sqlalchemy", "bcrypt", "deepcopy", "gc", "dns",
)  # fmt: skip
SLOW_REPLY = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class SlowPeer(threading.Thread):
    """Answers every connection after 0.3 s."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self.start()

    def run(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(1000)
            time.sleep(0.3)
            connection.sendall(SLOW_REPLY)


class Server:
    """The app under uvicorn, watched or not, with its record read as it grows."""

    def __init__(self, folder: Path, peer: SlowPeer, loop: str, watched: bool = True, app: str = "stalls_app:app"):
        self.port, self.fifo = free_port(), folder / "fifo"
        self.record = folder / f"record-{self.port}.jsonl"
        if not self.fifo.exists():
            os.mkfifo(self.fifo)
        added = environment(self.record, 0.1) if watched else {}
        self.clock = Clock(self.record)
        self.process = subprocess.Popen(
            [*BEFORE, interpreter(), "-m", "uvicorn", app, "--port", str(self.port), "--loop", loop,
             "--log-level", "warning", "--no-access-log"],
            cwd=HERE,
            env={**os.environ, "UNSTALL_LOG": "off", "SLOW_PORT": str(peer.port), "FIFO": str(self.fifo), **added},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 30
        while time.monotonic() < until and not self.get("/health"):
            time.sleep(0.05)
        time.sleep(0.5)

    def get(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                answer.read()
                return True
        except OSError:
            return False

    def events(self) -> list[dict[str, Any]]:
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)


class Clock(threading.Thread):
    """When each line of a file was first there for another process to read, on the monotonic clock."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.seen_at, self.done = path, [], False
        self.start()

    def run(self) -> None:
        offset = 0
        while not self.done:
            try:
                size = self.path.stat().st_size
            except FileNotFoundError:
                size = 0
            if size > offset:
                now = time.monotonic()
                with self.path.open("rb") as f:
                    f.seek(offset)
                    self.seen_at += [now] * f.read(size - offset).count(b"\n")
                offset = size
            time.sleep(0.001)


def call(server: Server, way: str) -> None:
    if way == "ws":
        asyncio.run(_websocket(server.port))
        return
    if way == "file":
        threading.Timer(0.3, lambda: server.fifo.write_text("x")).start()
    server.get(PATHS.get(way, "/" + way))


async def _websocket(port: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket_:
        await socket_.send_str("go")
        await socket_.receive()


def positives(folder: Path, peer: SlowPeer, loop: str) -> None:
    server = Server(folder, peer, loop)
    clock = server.clock
    waiting = threading.Thread(target=server.get, args=("/innocent/120",), daemon=True)
    waiting.start()
    time.sleep(0.2)
    for warm in WARM:
        server.get("/" + warm)  # builds its data once
    time.sleep(3)
    rows: list[dict[str, Any]] = []
    for way in LINES:
        if way == "dns" and not BEFORE:
            print(f"{loop}: dns not tried: no mount namespace or port 53 here")
            continue
        if way == "lifespan":
            found = server.events()
        else:
            before = len(server.events())
            call(server, way)
            time.sleep(1.0)
            until = time.monotonic() + 3
            while time.monotonic() < until:
                found = server.events()[before:]
                if any(e["event"] == "stall_ended" for e in found):
                    break
                time.sleep(0.05)
        rows.append(judge(way, found, server, clock))
    clock.done = True
    server.process.kill()
    server.process.wait()
    show(loop, rows)


def judge(way: str, found: list[dict[str, Any]], server: Server, clock: Clock) -> dict[str, Any]:
    line = LINES[way]
    route = SPECIAL.get(way, "GET /" + way)
    everything = server.events()
    began = [e for e in found if e["event"] == "stall_began"]
    ended = [e for e in found if e["event"] == "stall_ended"]
    first = began[0] if began else None
    hit = [e for e in began if e["site"] and abs(e["site"]["line"] - line) <= 0]
    last = [e for e in ended if e["site"] and e["site"]["line"] == line]
    at = clock.seen_at[everything.index(first)] if first and everything.index(first) < len(clock.seen_at) else None
    end = last[0] if last else (ended[0] if ended else None)
    return {
        "way": way,
        "found": bool(began),
        "live_line": bool(hit) and first is not None and at is not None and end is not None
        and at < end["monotonic"] + end["duration_s"],
        "line": bool(last),
        "route": end is not None and end["route"] == route if route is not None else None,
        "innocent": bool(end) and "innocent" in str(end["route"]),
        "evidence_s": at - first["monotonic"] - 0.1 if at is not None and first is not None else None,
        "length_s": end["duration_s"] if end else None,
        "blame": end["blame"] if end else None,
    }  # fmt: skip


def show(loop: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{loop}: {len(rows)} ways to stall")
    for label, key in (("found", "found"), ("live and exact line", "live_line"), ("exact line at the end", "line")):
        missed = [r["way"] for r in rows if not r[key]]
        print(f"  {label:<28}{len(rows) - len(missed)} of {len(rows)}  {' '.join(missed)}")
    routed = [r for r in rows if r["route"] is not None]
    wrong = [r["way"] for r in routed if not r["route"]]
    print(f"  {'method and route':<28}{len(routed) - len(wrong)} of {len(routed)}  {' '.join(wrong)}")
    print(f"  {'innocents blamed':<28}{sum(r['innocent'] for r in rows)}")
    print(f"  {'blamed on the environment':<28}{' '.join(r['way'] for r in rows if r['blame'] == 'environment') or 0}")
    late = sorted((r["evidence_s"], r["way"]) for r in rows if r["evidence_s"] is not None)
    within = sum(s <= 0.05 for s, _ in late)
    print(
        f"  {'evidence <= threshold+50 ms':<28}{within} of {len(rows)}, worst {late[-1][0] * 1000:.0f} ms {late[-1][1]}"
    )
    exact = ("sleep", "depends", "middleware", "background", "stream", "task", "gather", "callback", "ws", "deep",
             "lock", "event", "queue")  # fmt: skip
    errors = sorted(abs(r["length_s"] - 0.3) for r in rows if r["way"] in exact and r["length_s"])
    print(
        f"  {'length error of 0.3 s':<28}median {statistics.median(errors) / 0.3:.1%}, worst {errors[-1] * 1000:.0f} ms"
    )


def survival(folder: Path, peer: SlowPeer) -> None:
    print("\nevidence after SIGKILL")
    for way in ("sleep", "cpu", "re"):
        server = Server(folder, peer, "uvloop", app="long_app:app")
        threading.Thread(target=server.get, args=("/" + way,), daemon=True).start()
        time.sleep(1.5)
        killed_at = time.monotonic()
        server.stop(signal.SIGKILL)
        time.sleep(0.5)
        killed = [e for e in server.events() if e["event"] == "killed"]
        error = abs(killed[0]["monotonic"] + killed[0]["duration_s"] - killed_at) if killed else float("nan")
        print(
            f"  {way:<28}{'yes' if killed and killed[0]['site'] else 'NO'}, killed within {error * 1000:.0f} ms of what it says"
        )


def negatives(folder: Path, peer: SlowPeer, loop: str) -> None:
    server = Server(folder, peer, loop)
    before = len(server.events())
    calls = [
        f"/negative/{kind}" for kind in ("thread", "to_thread", "executor", "generator", "short", "short", "short")
    ] * 20
    threads = [threading.Thread(target=server.get, args=(path,)) for path in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.5)
    busy = [e for e in server.events()[before:] if e["event"] == "stall_ended"]
    before = len(server.events())
    for _ in range(3):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.7)
        server.process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
    stopped = [e for e in server.events()[before:] if e["event"] == "stall_ended"]
    before = len(server.events())
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    until = time.monotonic() + 6
    while time.monotonic() < until:
        server.get("/health")
    for hog in hogs:
        hog.kill()
        hog.wait()
    hogged = [e for e in server.events()[before:] if e["event"] == "stall_ended"]
    server.stop()
    throttled = throttle(folder, peer, loop)
    print(f"\n{loop}: blamed on the code, of those reported")
    for label, found in (("threads, busy loop", busy), ("SIGSTOP, 3 times", stopped), ("8 CPU hogs", hogged)):
        print(f"  {label:<28}{sum(e['blame'] == 'code' for e in found)} of {len(found)}")
    if throttled is None:
        print("  CPU limit                   not measured: no cgroup may be made here")
    else:
        print(f"  {'CPU limit':<28}{sum(e['blame'] == 'code' for e in throttled)} of {len(throttled)}")


def throttle(folder: Path, peer: SlowPeer, loop: str) -> list[dict[str, Any]] | None:
    """Under a quota of a tenth of a processor (cgroup v1 or v2, as root)."""
    for root, quota in (("/sys/fs/cgroup/cpu", None), ("/sys/fs/cgroup", "cpu.max")):
        group = Path(root, "unstall-bench")
        try:
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))
            server = Server(folder, peer, loop)
            Path(root, "cgroup.procs").write_text(str(os.getpid()))
            before = len(server.events())
            if quota is not None:
                (group / quota).write_text("40000 400000")
            else:
                (group / "cpu.cfs_period_us").write_text("400000")
                (group / "cpu.cfs_quota_us").write_text("40000")
        except OSError:
            continue
        until = time.monotonic() + 8
        while time.monotonic() < until:
            server.get("/health")
        found = [e for e in server.events()[before:] if e["event"] == "stall_ended"]
        server.stop(signal.SIGKILL)
        time.sleep(0.5)
        group.rmdir()
        return found
    return None


def cpu_s(pid: int) -> float:
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in tasks) / 1e9


def observers(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory_kb(pid: int, key: str) -> int:
    for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if row.startswith(key + ":"):
            return int(row.split()[1])
    return 0


def idle(folder: Path, peer: SlowPeer) -> None:
    """Side by side, so that whatever the machine does meets both alike."""
    servers = {watched: Server(folder, peer, "uvloop", watched, app="plain_app:app") for watched in (False, True)}
    time.sleep(QUIET_S + 1)
    pids = {watched: server.process.pid for watched, server in servers.items()}
    counted = [pids[False], pids[True], *observers(pids[True])]
    before = [cpu_s(pid) for pid in counted]
    time.sleep(20)
    plain_s, app_s, observer_s = (cpu_s(pid) - at for pid, at in zip(counted, before, strict=True))
    added_mb = (memory_kb(pids[True], "Pss_Anon") - memory_kb(pids[False], "Pss_Anon")) / 1024
    print(f"\nidle, 20 s: app {app_s - plain_s:+.3f} s CPU over plain ({plain_s:.3f} s), observer {observer_s:.3f} s")
    print(f"memory: app {added_mb:+.1f} MB, observer {memory_kb(counted[2], 'Pss') / 1024:.1f} MB PSS")
    for server in servers.values():
        server.stop()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    peer = SlowPeer()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        BEFORE[:] = asking_slowly(folder)
        for loop in ("uvloop", "asyncio"):
            positives(folder, peer, loop)
            negatives(folder, peer, loop)
        survival(folder, peer)
        idle(folder, peer)


if __name__ == "__main__":
    main()
