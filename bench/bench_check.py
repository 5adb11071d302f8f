"""Checks a tree of about a million lines beside ruff's ASYNC rules, ty-async and hydroid-cli: lines per second, peak memory.

    python bench/bench_check.py [--lines 1000000] [--tree DIR] [--only unstall,ruff,ty-async,hydroid] [--page docs/check.md]

The peers are installed into an environment of its own below the system's temporary folder. Every tool is a process of
its own over the same tree; "edited" is a second run after one helper that many modules call begins to block. Cold runs are
made by turns, round after round, since the machine's speed wanders: a ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pages import put

import unstall

PEERS = ["ruff", "ty-async", "hydroid-cli"]
MODULES_PER_PACKAGE = 40
SHORT_S, WARM_RUNS = 5.0, 3
"""Of warm runs shorter than this so many are made."""


def module_text(rng: random.Random, package: str, number: int) -> str:
    """One module: a service with helpers, a model, a route and plain code, calling into earlier modules."""
    other = rng.randrange(number) if number else 0
    lines = [
        "from __future__ import annotations",
        "",
        "import json",
        "from dataclasses import dataclass",
        "",
        "import httpx",
        "import requests",
        "from fastapi import APIRouter, Depends",
        "",
        "from shared.helpers import audit, render",
    ]
    if number:
        lines.append(f"from {package}.module_{other} import Service as Upstream{other}")
    lines += ["", f"router = APIRouter(prefix='/{package}/{number}')", "", ""]
    lines += ["@dataclass", "class Order:", "    number: int", "    name: str", "    total: float = 0.0", ""]
    for field in range(6):
        lines += [f"    def field_{field}(self) -> str:", f"        return f'{{self.name}}-{field}-{{self.total}}'", ""]
    lines += ["", "class Service:", "    def __init__(self, name: str) -> None:", "        self.name = name"]
    lines += ["        self.orders: dict[int, Order] = {}", "        self.client = httpx.AsyncClient()", ""]
    for method in range(12):
        lines += [
            f"    def compute_{method}(self, order: Order) -> float:",
            f"        total = order.total * {method + 1}",
            "        for part in self.orders.values():",
            "            if part.number > order.number:",
            "                total += part.total",
            "            elif part.name == self.name:",
            "                total -= part.number",
            f"        return self.compute_{method - 1}(order) + total" if method else "        return total",
            "",
        ]
    lines += ["    def store(self, order: Order) -> str:", "        self.orders[order.number] = order"]
    lines += ["        return audit(json.dumps({'number': order.number, 'name': order.name}))", ""]
    if number:
        lines += [
            "    def upstream(self, order: Order) -> str:",
            f"        return Upstream{other}('x').store(order)",
            "",
        ]
    lines += ["    async def fetch(self, url: str) -> bytes:", "        answer = await self.client.get(url)"]
    lines += [
        "        return answer.content",
        "",
        "",
        "def get_service() -> Service:",
        "    return Service('orders')",
        "",
        "",
    ]
    for route in range(4):
        lines += [
            f"@router.get('/{route}')",
            f"async def route_{route}(number: int, service: Service = Depends(get_service)) -> str:",
            "    order = Order(number, 'x')",
            "    await service.fetch('http://upstream')",
            f"    total = service.compute_{route}(order)",
            "    text = service.store(order)",
            f"    return render(text, total){' + service.upstream(order)' if number and route == 0 else ''}",
            "",
            "",
        ]
    if rng.random() < 0.05:
        lines += [
            "@router.post('/sync')",
            "async def sync(url: str) -> str:",
            "    return requests.get(url).text",
            "",
            "",
        ]
    return "\n".join(lines)


def generate(root: Path, lines: int) -> int:
    """Write the tree; the number of lines it really has."""
    rng = random.Random(7)
    (root / "shared").mkdir(parents=True)
    (root / "shared" / "__init__.py").write_text("")
    helpers = "def audit(text: str) -> str:\n    return text.upper()\n\n\ndef render(text: str, total: float) -> str:\n    return text\n"
    (root / "shared" / "helpers.py").write_text(helpers)
    written, package = helpers.count("\n"), 0
    while written < lines:
        folder = root / f"package_{package}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for number in range(MODULES_PER_PACKAGE):
            text = module_text(rng, folder.name, number)
            (folder / f"module_{number}.py").write_text(text)
            written += text.count("\n") + 1
        package += 1
    return written


class Run(NamedTuple):
    """Wall seconds, CPU seconds, the peak of the resident MiB of all processes together, the machine's load before."""

    wall_s: float
    cpu_s: float
    peak_mib: int
    load: float


def measured(command: list[str], cwd: Path) -> Run:
    """Run a command to its end."""
    before, load = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, family(process.pid))))
        time.sleep(0.05)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak >> 20, load)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                found += family(int(child))
    except OSError:
        pass
    return found


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def environment() -> Path:
    """An environment with the peers; reused when it is there."""
    home = Path(tempfile.gettempdir()) / "unstall-bench-peers"
    if not (home / "bin" / "hydroid").exists():
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *PEERS], check=True)
    return home / "bin"


def commands(names: list[str]) -> dict[str, list[str]]:
    """What is run for each tool, cold."""
    found = {"unstall": [sys.executable, "-m", "unstall", "check", ".", "--output-format", "concise"]}
    if set(names) - {"unstall"}:
        home = environment()
        found["ruff"] = [
            str(home / "ruff"),
            "check",
            "--isolated",
            "--no-cache",
            "--exit-zero",
            "--select",
            "ASYNC",
            ".",
        ]
        found["ty-async"] = [str(home / "ty-async"), "--async200-stdlib", "--async200-transitive", "."]
        found["hydroid"] = [str(home / "hydroid"), ".", "--format", "json"]
    return {name: command for name, command in found.items() if name in names}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--tree", type=Path, help="real code to measure on, repeated under other names up to --lines")
    parser.add_argument("--growth", default="10000,100000", help="smaller trees for unstall alone, to see the growth")
    parser.add_argument("--rounds", type=int, default=3, help="of cold runs on the largest tree")
    parser.add_argument("--only", default="unstall,ruff,ty-async,hydroid")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page, as docs/check.md")
    options = parser.parse_args()
    # What is installed has its bytecode beside it; without, each short run would mostly compile its own modules.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(Path(unstall.__file__).parent)], check=True)
    rows = []
    for lines in [*(int(n) for n in options.growth.split(",") if n), options.lines]:
        with tempfile.TemporaryDirectory(prefix="unstall-bench-") as folder:
            names = ["unstall"] if lines < options.lines else options.only.split(",")
            rounds = options.rounds if lines == options.lines else 1
            rows += measure_tree(Path(folder) / "tree", lines, names, options.tree, rounds)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    if options.page:
        write_page(options.page, rows, options.tree is not None)


def repeat(source: Path, root: Path, lines: int) -> int:
    """Copy the Python files of a folder that are no tests, again and again under other names; the lines written."""
    from unstall.source.project import find_sources

    paths, _ = find_sources(source)
    written = number = 0
    while written < lines and paths:
        for path in paths:
            data = (source / path).read_bytes()
            target = root / f"copy_{number}" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            written += data.count(b"\n")
            if written >= lines:
                break
        number += 1
    return written


def measure_tree(root: Path, lines: int, names: list[str], real: Path | None, rounds: int) -> list[dict[str, Any]]:
    """Run every tool on a fresh tree: cold by turns, then each again, and after edits of the shared helper."""
    own = min(lines, 10_000) if real is not None else lines
    written = generate(root, own)
    if real is not None and lines > own:
        written += repeat(real, root, lines - own)
    tree = set(root.iterdir())
    helper = root / "shared" / "helpers.py"
    before = helper.read_text()
    tools = commands(names)
    cold: dict[str, list[Run]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, command in tools.items():
            forget(root, tree)
            cold[name].append(measured(command, root))
    rows: list[dict[str, Any]] = []
    for name, command in tools.items():
        rounds_of = zip(cold.get("unstall", cold[name]), cold[name], strict=True)
        ratios = [round(other.wall_s / ours.wall_s, 2) for ours, other in rounds_of]
        rows.append(row(name, written, "cold", cold[name]) | {"ratios": ratios})
        if name == "ruff":
            continue  # it keeps nothing
        forget(root, tree)
        measured(command, root)
        runs = [measured(command, root) for _ in range(WARM_RUNS)]
        rows.append(row(name, written, "unchanged", runs))
        runs = []
        while not runs or (runs[0].wall_s < SHORT_S and len(runs) < WARM_RUNS):
            blocks = f"time.sleep(0.{len(runs) + 1})\n    return text.upper()"
            helper.write_text("import time\n" + before.replace("return text.upper()", blocks))
            runs.append(measured(command, root))
        rows.append(row(name, written, "edited", runs))
        helper.write_text(before)
    return rows


def forget(root: Path, tree: set[Path]) -> None:
    """Take away what tools have left in the tree."""
    for path in set(root.iterdir()) - tree:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def row(tool: str, lines: int, phase: str, runs: list[Run]) -> dict[str, Any]:
    """The middle one of the runs, as it is printed and kept; the peak is the highest."""
    middle = sorted(runs)[len(runs) // 2]
    print(
        f"{tool:10} {lines:>9,} lines  {phase:9} {middle.wall_s:8.2f} s  {middle.cpu_s:8.2f} CPU s  "
        f"{lines / middle.wall_s:>10,.0f} lines/s  {max(r.peak_mib for r in runs):>5} MiB  load {middle.load:.1f}  "
        f"({', '.join(f'{r.wall_s:.2f}' for r in runs)})",
        flush=True,
    )
    return {
        "tool": tool, "lines": lines, "phase": phase, "wall_s": round(middle.wall_s, 2), "cpu_s": round(middle.cpu_s, 2),
        "peak_mib": max(r.peak_mib for r in runs), "load": round(middle.load, 1),
    }  # fmt: skip


def machine() -> str:
    """The processor, the cores, and the versions measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    versions = [f"unstall {version('unstall')}"]
    if (pip := Path(tempfile.gettempdir()) / "unstall-bench-peers" / "bin" / "pip").exists():
        listed = json.loads(subprocess.check_output([pip, "list", "--format", "json"], stderr=subprocess.DEVNULL))
        versions += [f"{row['name']} {row['version']}" for row in listed if row["name"] in PEERS]
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def write_page(page: Path, rows: list[dict[str, Any]], real: bool) -> None:
    """Put the table between the marks of a page."""
    loads = [row["load"] for row in rows]
    kind = "public FastAPI and asyncio code, repeated" if real else "a generated FastAPI project of dense code"
    lines = [
        f"On {kind}. {machine()}. Load of the machine before each run: {min(loads)} to {max(loads)}.",
        "",
        "| tool | lines | run | wall | CPU | lines/s | peak, all processes |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['tool']} | {row['lines']:,} | {row['phase']} | {row['wall_s']} s | {row['cpu_s']} s "
        f"| {row['lines'] / row['wall_s']:,.0f} | {row['peak_mib']:,} MiB |"
        for row in rows
    ]
    for row in rows:
        if row["tool"] != "unstall" and row["phase"] == "cold":
            times = statistics.median(row["ratios"])
            lines += ["", f"{row['tool']} by unstall, cold, in each round: {row['ratios']}, in the middle {times}."]
    put(page, "bench_check_real" if real else "bench_check", "\n".join(lines))


if __name__ == "__main__":
    main()
