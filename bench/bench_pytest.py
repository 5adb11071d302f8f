"""Measures the pytest plugin: which kinds of stall fail a test, beside blockbuster and pyleak, and what it costs a suite.

    python bench/bench_pytest.py [--write] [--pairs N] [--suite NAME=PYTHON:FOLDER ...]

`--write` puts the tables into docs/pytest.md. A suite is a checkout with an environment of its own that has unstall and
what the suite needs; its CPU time (user and system, children included) is compared with and without, in turns.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "pytest.md"
KINDS = ROOT / "tests" / "pytest_plugin"
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
JUDGES = (
    ("unstall", {}, ["--unstall"]),
    ("unstall, budget 0.1 s", {}, ["--unstall", "--unstall-budget", "0.1"]),
    ("blockbuster", {"PEER": "blockbuster"}, []),
    ("pyleak, threshold 0.1 s", {"PEER": "pyleak"}, []),
)
OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR) test_kinds.py::test_(?:way\[)?([\w/-]+)", re.MULTILINE)


def release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def kinds_failed(folder: Path, extra: dict[str, str], flags: list[str]) -> dict[str, bool]:
    """By kind of stall: whether its test failed."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rA",
            "-p",
            "no:anyio",
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore",
            *flags,
        ],
        cwd=folder,
        env={**os.environ, "COMPUTING": "1", "STALL_S": "0.3", **extra},
        capture_output=True,
        text=True,
    )
    found = {kind: outcome != "PASSED" for outcome, kind in OUTCOME.findall(done.stdout)}
    if not found:
        raise SystemExit(done.stdout + done.stderr)
    return found


def kinds_table() -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "bench" / "stalls_app.py", folder)
        shutil.copy(KINDS / "kinds.py", folder)
        shutil.copy(KINDS / "kinds_suite.py", folder / "test_kinds.py")
        (folder / "pytest.ini").write_text(INI)
        columns = {}
        for judge, extra, flags in JUDGES:
            columns[judge] = kinds_failed(folder, extra, flags)
            print(f"{judge}: {sum(columns[judge].values())} of {len(columns[judge])} fail", flush=True)
    sys.path.insert(0, str(KINDS))
    from kinds import CALLS, COMPUTING, NEGATIVE

    groups = (("calls", [*CALLS, "lifespan", "ws"]), ("computing", COMPUTING), ("does not block", NEGATIVE))
    lines = [f"| kind of stall | {' | '.join(columns)} |", "|---|" + ":-:|" * len(columns)]
    for group, kinds in groups:
        for kind in kinds:
            marks = ("fails" if column.get(kind) else "-" for column in columns.values())
            lines.append(f"| {kind} | {' | '.join(marks)} |")
        sums = (f"**{sum(bool(column.get(kind)) for kind in kinds)} of {len(kinds)}**" for column in columns.values())
        lines.append(f"| **{group}** | {' | '.join(sums)} |")
    versions = ", ".join(
        f"{package} {release(package)}" for package in ("pytest", "pytest-asyncio", "blockbuster", "pyleak")
    )
    return "\n".join([*lines, "", f"CPython {sys.version.split()[0]}, {versions}."])


def cpu_s(python: str, folder: str, flag: list[str]) -> float:
    """User and system time of one run of a suite, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flag], cwd=folder, capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cost_table(suites: list[str], pairs: int) -> str:
    lines = ["| suite | CPU without | with | ratio of each pair |", "|---|--:|--:|---|"]
    for suite in suites:
        name, _, where = suite.partition("=")
        python, _, folder = where.partition(":")
        rounds = []
        for number in range(pairs):
            arms = {"": ["-p", "no:unstall"], "with": ["--unstall"]}
            order = sorted(arms, reverse=bool(number % 2))
            took = {arm: cpu_s(python, folder, arms[arm]) for arm in order}
            rounds.append((took[""], took["with"]))
            print(f"{name}: {took['']:.1f} s without, {took['with']:.1f} s with", flush=True)
        without, with_ = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = ", ".join(f"{b / a:.3f}" for a, b in rounds)
        lines.append(f"| {name} | {without:.1f} s | {with_:.1f} s | {ratios} |")
    return "\n".join(lines)


def put(page: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: written by bench/bench_pytest.py -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    return before + begin + "\n" + table + "\n\n" + end + rest.split(end, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--no-kinds", action="store_true", help="leave the table of kinds out")
    asked = parser.parse_args()
    tables = {} if asked.no_kinds else {"kinds": kinds_table()}
    if asked.suite:
        tables["cost"] = cost_table(asked.suite, asked.pairs)
    for name, table in tables.items():
        print(table)
        if asked.write:
            PAGE.write_text(put(PAGE.read_text(), name, table))


if __name__ == "__main__":
    main()
