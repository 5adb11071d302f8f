"""Measures `watch` and five other tools side by side, on the same stalls in the same run.

    python bench/bench_peers.py [--pairs 6] [--loops uvloop asyncio] [--write]

They are installed into an environment of their own; what a tool says is all that it writes: to stderr, to its files.
A tool has found a line where it names it anywhere, also in the middle of a stack. `--write` puts the table into
`docs/watch.md`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench_watch import HERE, LINES, PATHS, SPECIAL, WARM, Server, SlowPeer, call, cpu_s, free_port, observers
from pages import put

PEERS = ("unstall", "aiocop", "loopsentry", "asynclens", "blockbuster", "fastapi-loopguard")
LIBRARIES = (
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "bcrypt",
    "numpy",
    "sqlalchemy",
    "requests",
    "aiohttp",
)
HOME = HERE.parent
WAYS = [way for way in LINES if way not in ("lifespan", "dns")]
PATIENCE_S = 2.0
"""How long after the answer a tool may take to name the line."""


def newer_python() -> str:
    """An interpreter of at least 3.12, of pyenv's or the machine's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [path for minor in ("3.12", "3.13") for path in pyenv.glob(f"{minor}.*/bin/python")]
    return str(found[0]) if found else shutil.which("python3.12") or shutil.which("python3.13") or sys.executable


def python_of_peers() -> str:
    """A Python of at least 3.12, which one of them asks for, with all of them installed."""
    folder = HOME / ".matrix" / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", newer_python(), str(folder)], check=True)
        wanted = ["-e", str(HOME), *LIBRARIES, *PEERS[1:]]
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *wanted], check=True)
    return str(python)


class Told(threading.Thread):
    """All that is written below a folder, with the time it was first there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.done = folder, False
        self.pieces: list[tuple[float, str]] = []
        self._sizes: dict[Path, int] = {}
        self._read()  # what is there already belongs to nothing that is yet to come
        self.start()

    def run(self) -> None:
        while not self.done:
            self._read()
            time.sleep(0.002)

    def _read(self) -> None:
        for path in [p for p in self.folder.rglob("*") if p.is_file()]:
            seen, size = self._sizes.get(path, 0), path.stat().st_size
            if size > seen:
                with path.open("rb") as f:
                    f.seek(seen)
                    text = f.read(size - seen).decode("utf-8", "replace")
                self._sizes[path] = size
                self.pieces.append((time.monotonic(), text))

    def since(self, at: float) -> list[tuple[float, str]]:
        return [piece for piece in list(self.pieces) if piece[0] >= at]


class Watched(Server):
    """One app under one tool."""

    def __init__(self, folder: Path, peer: SlowPeer, loop: str, tool: str, app: str = "stalls_app") -> None:
        self.port, self.fifo = free_port(), folder / "fifo"
        if not self.fifo.exists():
            os.mkfifo(self.fifo)
        self.evidence = folder / f"evidence-{self.port}"
        self.evidence.mkdir()
        env = {"PEER": tool, "APP": app, "EVIDENCE": str(self.evidence), "SLOW_PORT": str(peer.port)}
        env |= {"FIFO": str(self.fifo), "UNSTALL_LOG": "off", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
        with (self.evidence / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [python_of_peers(), "-m", "uvicorn", "peers_app:app", "--port", str(self.port), "--loop", loop,
                 "--log-level", "warning", "--no-access-log"],
                cwd=HERE, env={**os.environ, **env}, stdout=stderr, stderr=stderr,
            )  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until and not self.get("/health"):
            time.sleep(0.05)
        if self.process.poll() is not None:
            raise SystemExit((self.evidence / "stderr").read_text())
        time.sleep(1.0)
        self.told = Told(self.evidence)

    def end(self, number: int = signal.SIGKILL) -> None:
        self.stop(number)
        time.sleep(0.7)
        self.told.done = True


def names_line(text: str, file: str, line: int) -> bool:
    return re.search(rf"{re.escape(file)}\D{{1,30}}?{line}\b", text) is not None


def names_request(tool: str, text: str, path: str, template: str) -> bool:
    """This request and not the one that only waits."""
    if tool == "unstall":
        rows = [json.loads(row) for row in text.splitlines() if row.startswith("{") and row.endswith("}")]
        routes = {row.get("route") for row in rows if row["event"] in ("stall_began", "stall_ended")}
        return template in routes and not any("innocent" in str(route) for route in routes)
    return re.search(rf"{re.escape(path)}(?![\w/-])", text) is not None and "/innocent" not in text


def stalls(folder: Path, peer: SlowPeer, loop: str, tool: str) -> dict[str, Any]:
    server = Watched(folder, peer, loop, tool)
    threading.Thread(target=server.get, args=("/innocent/600",), daemon=True).start()
    for warm in [one for one in WARM if one in WAYS]:
        server.get("/" + warm)  # builds its data once
    time.sleep(1)
    count = {"found": 0, "line": 0, "live": 0, "request": 0}
    delays, missed = [], []
    for way in WAYS:
        at = time.monotonic()
        call(server, way)
        answered = time.monotonic()
        exact = False
        while not exact and time.monotonic() < answered + PATIENCE_S:
            time.sleep(0.1)
            told = server.told.since(at)
            text = "".join(piece for _, piece in told)
            exact = names_line(text, "stalls_app.py", LINES[way])
        path, template = PATHS.get(way, "/" + way), SPECIAL.get(way) or "GET /" + way
        count["found"] += bool(told)
        count["line"] += exact
        named = [seen for seen, piece in told if names_line(piece, "stalls_app.py", LINES[way])]
        count["live"] += bool(named) and named[0] < answered
        count["request"] += names_request(tool, text, path, template)
        delays += [named[0] - at] if named else []
        missed += [] if exact else [way]
    server.end()
    print(f"{tool} {loop}: {count} of {len(WAYS)}, line missed: {' '.join(missed) or 'none'}", flush=True)
    return {**count, "delay_s": statistics.median(delays) if delays else None}


def survives(folder: Path, peer: SlowPeer, tool: str) -> int:
    """In how many of three the line is known after SIGKILL in the middle of the stall."""
    source = (HERE / "long_app.py").read_text().splitlines()
    known = 0
    for way, mark in (("sleep", "time.sleep(60)"), ("cpu", "while True:"), ("re", "re.match(")):
        server = Watched(folder, peer, "uvloop", tool, "long_app")
        at = time.monotonic()
        threading.Thread(target=server.get, args=("/" + way,), daemon=True).start()
        time.sleep(1.5)
        server.end()
        text = "".join(piece for _, piece in server.told.since(at))
        line = next(i for i, row in enumerate(source, 1) if mark in row)
        known += names_line(text, "long_app.py", line) or (way == "cpu" and names_line(text, "long_app.py", line + 1))
    return known


def blames(tool: str, pieces: list[tuple[float, str]]) -> bool:
    """Whether anything was reported as a stall of the app, and not put down to the machine."""
    text = "".join(piece for _, piece in pieces)
    if tool != "unstall":
        return bool(text)
    rows = [json.loads(row) for row in text.splitlines() if row.startswith("{") and row.endswith("}")]
    return any(row["event"] == "stall_ended" and row["blame"] == "code" for row in rows)


def stopped(folder: Path, peer: SlowPeer, tool: str) -> int:
    """How many of three stops by SIGSTOP were reported as the app's."""
    server = Watched(folder, peer, "uvloop", tool)
    blamed = 0
    for _ in range(3):
        at = time.monotonic()
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.7)
        server.process.send_signal(signal.SIGCONT)
        time.sleep(0.8)
        blamed += blames(tool, server.told.since(at))
    server.end()
    return blamed


def throttled(folder: Path, peer: SlowPeer, tool: str) -> bool | None:
    """Whether a CPU limit of a tenth of a processor was reported as the app's stalls; None where none can be set."""
    for root, limits in (
        ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "400000", "cpu.cfs_quota_us": "40000"}),
        ("/sys/fs/cgroup", {"cpu.max": "40000 400000"}),
    ):
        group = Path(root, f"unstall-peers-{os.getpid()}")
        server = Watched(folder, peer, "uvloop", tool)
        try:
            group.mkdir(exist_ok=True)
            for pid in (server.process.pid, *observers(server.process.pid)):
                (group / "cgroup.procs").write_text(str(pid))
            for name, value in limits.items():
                (group / name).write_text(value)
        except OSError:
            server.end()
            continue
        time.sleep(1)
        at, until = time.monotonic(), time.monotonic() + 8
        while time.monotonic() < until:
            server.get("/health")
        found = blames(tool, server.told.since(at))
        server.end()
        group.rmdir()
        return found
    return None


def overhead(folder: Path, peer: SlowPeer, tool: str, pairs: int) -> tuple[float, float]:
    """Requests per CPU second with the tool by those without, and half its 95 % interval."""
    ratios = []
    for i in range(pairs):
        got = {}
        for name in ("", tool) if i % 2 else (tool, ""):
            server = Watched(folder, peer, "uvloop", name, "plain_app")
            server.told.done = True
            wrk(server.port, 1)
            pids = [server.process.pid, *observers(server.process.pid)]
            before = sum(map(cpu_s, pids))
            got[name] = wrk(server.port, 3) / (sum(map(cpu_s, pids)) - before)
            server.end()
        ratios.append(got[tool] / got[""])
    return statistics.mean(ratios), 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5


def wrk(port: int, seconds: int) -> int:
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(int(row.split()[0]) for row in text.splitlines() if "requests in" in row)


def table(rows: dict[str, dict[str, Any]], loops: list[str]) -> str:
    names = ("wrote something", "exact line", "line while it lasts", "request named alone", "line after",
             "line after SIGKILL", "SIGSTOP held against the app", "CPU limit held against the app")  # fmt: skip
    if any(row["overhead"] for row in rows.values()):
        names += ("requests per CPU second, with/without",)
    lines = [f"| tool | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for tool, row in rows.items():
        both = {key: " / ".join(str(row[loop][key]) for loop in loops) for key in ("found", "line", "live", "request")}
        delays = [row[loop]["delay_s"] for loop in loops if row[loop]["delay_s"] is not None]
        delay = f"{statistics.mean(delays) * 1000:.0f} ms" if delays else "none"
        limit = {True: "yes", False: "no", None: "not measured"}[row["throttled"]]
        cells = [both["found"], both["line"], both["live"], both["request"], delay, f"{row['survives']} of 3",
                 f"{row['stopped']} of 3", limit]  # fmt: skip
        if row["overhead"]:
            cells.append("{:.3f} ± {:.3f}".format(*row["overhead"]))
        lines.append(f"| {tool} | {' | '.join(cells)} |")
    return "\n".join(lines)


def setting(pairs: int, loops: list[str]) -> str:
    code = "import importlib.metadata as m, sys; print(*[f'{n} {m.version(n)}' for n in sys.argv[1:]], sep=', ')"
    asked = [python_of_peers(), "-c", code, *PEERS[1:], "uvicorn", "uvloop", "fastapi"]
    versions = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    asked = [python_of_peers(), "-V"]
    python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    cpus = len(os.sched_getaffinity(0))
    cost = (
        f" The last column: FastAPI, wrk, {pairs} alternating pairs, the tool's own processes counted, mean with its 95 % interval."
        if pairs > 1
        else ""
    )
    return (
        f"One run of `bench/bench_peers.py`, {time.strftime('%Y-%m-%d')}: {len(WAYS)} ways to stall for about 300 ms, "
        f"{' / '.join(loops)}; {python}, Linux {platform.release().partition('-')[0]}, {cpus} processors; "
        f"unstall {importlib.metadata.version('unstall')}, {versions}. A line counts where the tool names it anywhere in "
        "what it writes; a request where it is named and one that only waited is not. A way that blocks after its answer "
        "counts in no tool's third column. Line after: median from the request until the line was written. blockbuster "
        f"raises instead of watching.{cost}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6, help="of servers that requests are counted of; 0: none")
    parser.add_argument("--loops", nargs="+", default=["uvloop", "asyncio"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--write", action="store_true", help="put the table into docs/watch.md")
    parser.add_argument("--tools", nargs="+", default=PEERS)
    options = parser.parse_args()
    WAYS[:] = options.ways
    peer = SlowPeer()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tool in options.tools:
            rows[tool] = {loop: stalls(folder, peer, loop, tool) for loop in options.loops}
            rows[tool]["survives"] = survives(folder, peer, tool)
            rows[tool]["stopped"] = stopped(folder, peer, tool)
            rows[tool]["throttled"] = throttled(folder, peer, tool)
            rows[tool]["overhead"] = overhead(folder, peer, tool, options.pairs) if options.pairs > 1 else None
            print(tool, rows[tool], flush=True)
    text = f"{setting(options.pairs, options.loops)}\n\n{table(rows, options.loops)}"
    print(text)
    if options.write:
        put(HOME / "docs" / "watch.md", "peers", text)


if __name__ == "__main__":
    main()
