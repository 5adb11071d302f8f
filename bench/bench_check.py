"""Checks a tree of about a million lines beside ruff's ASYNC rules, ty-async and hydroid-cli: lines per second, peak memory.

    python bench/bench_check.py [--lines 1000000] [--tree DIR] [--only unstall,ruff,ty-async,hydroid] [--page docs/check.md]

The peers are installed into an environment of its own below the system's temporary folder. Every tool is a process of
its own over the same tree; "edited" is a second run after one helper that many modules call begins to block.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pages import put

import unstall

PEERS = ["ruff", "ty-async", "hydroid-cli"]
MODULES_PER_PACKAGE = 40
SHORT_S = 5.0
"""Of warm runs shorter than this the middle one of three is taken."""


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


def measured(command: list[str], cwd: Path) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds, and the peak of the resident MiB of a command and its children together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
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
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak >> 20


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
            rows += measure_tree(Path(folder) / "tree", lines, names, options.tree)
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


def measure_tree(root: Path, lines: int, names: list[str], real: Path | None) -> list[dict[str, Any]]:
    """Run every tool on a fresh tree: cold, again, and after an edit of the shared helper."""
    own = min(lines, 10_000) if real is not None else lines
    written = generate(root, own)
    if real is not None and lines > own:
        written += repeat(real, root, lines - own)
    rows: list[dict[str, Any]] = []
    helper = root / "shared" / "helpers.py"
    before = helper.read_text()
    for name, command in commands(names).items():
        helper.write_text(before)
        for phase in ("cold",) if name == "ruff" else ("cold", "unchanged", "edited"):
            runs: list[tuple[float, float, int]] = []
            load = os.getloadavg()[0]
            while not runs or (phase != "cold" and runs[0][0] < SHORT_S and len(runs) < 3):
                if phase == "edited":
                    blocks = f"time.sleep(0.{len(runs) + 1})\n    return text.upper()"
                    helper.write_text("import time\n" + before.replace("return text.upper()", blocks))
                runs.append(measured(command, root))
            wall_s, cpu_s, peak_mib = sorted(runs)[len(runs) // 2]
            row = {"tool": name, "lines": written, "phase": phase, "wall_s": round(wall_s, 2)}
            row |= {"cpu_s": round(cpu_s, 2), "peak_mib": peak_mib, "load": round(load, 1)}
            rows.append(row)
            print(
                f"{name:10} {written:>9,} lines  {phase:9} {wall_s:8.2f} s  {cpu_s:8.2f} CPU s  "
                f"{written / wall_s:>10,.0f} lines/s  {peak_mib:>5} MiB  load {load:.1f}",
                flush=True,
            )
    return rows


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
    put(page, "bench_check", "\n".join(lines))


if __name__ == "__main__":
    main()
