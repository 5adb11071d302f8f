"""Checks a tree of about a million lines beside ruff's ASYNC rules, ty-async and hydroid-cli: lines per second, peak memory.

    python bench/bench_check.py [--lines 1000000] [--tree DIR] [--only unstall,ruff,ty-async,hydroid] [--json OUT]

The peers are installed into an environment of its own below the system's temporary folder. Every tool is a process of
its own over the same tree; "edited" is a second run after one helper that many modules call begins to block.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PEERS = ["ruff", "ty-async", "hydroid-cli"]
MODULES_PER_PACKAGE = 40


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
    """Wall seconds, CPU seconds, and peak resident MiB of a command and its children."""
    program = (
        "import json,resource,subprocess,sys,time;t=time.perf_counter();"
        "p=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL);"
        "u=resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([time.perf_counter()-t,u.ru_utime+u.ru_stime,u.ru_maxrss//1024,p.returncode]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=cwd, capture_output=True, text=True, check=True
    )
    wall_s, cpu_s, peak_mib, status = json.loads(done.stdout)
    if status not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return wall_s, cpu_s, peak_mib


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
    parser.add_argument("--growth", default="10000,100000", help="smaller trees for unstall alone, to see the growth")
    parser.add_argument("--only", default="unstall,ruff,ty-async,hydroid")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for lines in [*(int(n) for n in options.growth.split(",") if n), options.lines]:
        with tempfile.TemporaryDirectory(prefix="unstall-bench-") as folder:
            rows += measure_tree(
                Path(folder) / "tree", lines, ["unstall"] if lines < options.lines else options.only.split(",")
            )
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")


def measure_tree(root: Path, lines: int, names: list[str]) -> list[dict[str, object]]:
    """Run every tool on a fresh tree: cold, again, and after an edit of the shared helper."""
    written = generate(root, lines)
    rows: list[dict[str, object]] = []
    helper = root / "shared" / "helpers.py"
    before = helper.read_text()
    for name, command in commands(names).items():
        helper.write_text(before)
        for phase in ("cold", "unchanged", "edited"):
            if phase == "edited":
                helper.write_text(
                    "import time\n" + before.replace("return text.upper()", "time.sleep(0.1)\n    return text.upper()")
                )
            wall_s, cpu_s, peak_mib = measured(command, root)
            rows.append(
                {
                    "tool": name,
                    "lines": written,
                    "phase": phase,
                    "wall_s": round(wall_s, 2),
                    "cpu_s": round(cpu_s, 2),
                    "peak_mib": peak_mib,
                }
            )
            print(
                f"{name:10} {written:>9,} lines  {phase:9} {wall_s:8.2f} s  {cpu_s:8.2f} CPU s  "
                f"{written / wall_s:>10,.0f} lines/s  {peak_mib:>5} MiB",
                flush=True,
            )
            if name == "ruff" and phase == "cold":
                break
    return rows


if __name__ == "__main__":
    main()
