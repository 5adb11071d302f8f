"""Checks real projects after random edits: does a run with the cache find what one without finds, and what does it cost?

    python bench/bench_edits.py [--edits 25] [--seed 1] [--page docs/check.md] DIR ...

Each DIR is copied, edited in the copy, and checked after every edit twice: with the cache of all runs before, and
without any. Most edits stay, so that they add up. Without a DIR nothing is measured: the trees are not part of the repository.
"""

from __future__ import annotations

import argparse
import ast
import platform
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pages import put

from unstall.source import check as module
from unstall.source.check import CheckReport, Options, check
from unstall.source.project import find_sources

STAYS = 0.7
"""The share of edits that are not taken back."""


class Trials(NamedTuple):
    """What one project's edits came to; CPU seconds are of runs that linked only what was edited."""

    name: str
    lines: int
    edits: int
    inside: int
    differ: int
    warm_s: float
    fresh_s: float


def put_in(text: str) -> Callable[[ast.FunctionDef, list[str], random.Random], bool]:
    """An edit that puts a line at the beginning of a body."""

    def edit(func: ast.FunctionDef, lines: list[str], rng: random.Random) -> bool:
        first = func.body[-1] if len(func.body) == 1 else func.body[1]
        if first.lineno == func.lineno or getattr(first, "decorator_list", None):
            return False
        lines.insert(first.lineno - 1, " " * first.col_offset + text)
        return True

    return edit


def call_another(func: ast.FunctionDef, lines: list[str], rng: random.Random) -> bool:
    names = [line.split("def ")[1].split("(")[0] for line in lines if line.lstrip().startswith("def ")]
    return put_in(f"{rng.choice(names)}()")(func, lines, rng) if names else False


def take_out(func: ast.FunctionDef, lines: list[str], rng: random.Random) -> bool:
    return replace_one(func, lines, rng, (ast.Expr, ast.Assign), "pass")


def give_nothing(func: ast.FunctionDef, lines: list[str], rng: random.Random) -> bool:
    return replace_one(func, lines, rng, (ast.Return,), "return None")


def replace_one(
    func: ast.FunctionDef, lines: list[str], rng: random.Random, kinds: tuple[type[ast.stmt], ...], text: str
) -> bool:
    statements = [node for node in ast.walk(func) if isinstance(node, ast.stmt)]
    found = [node for node in statements if isinstance(node, kinds) and node.lineno == node.end_lineno]
    if not found:
        return False
    node = rng.choice(found)
    lines[node.lineno - 1] = lines[node.lineno - 1][: node.col_offset] + text
    return True


def comment(func: ast.FunctionDef, lines: list[str], rng: random.Random) -> bool:
    lines.insert(0, "# one line more")
    return True


EDITS = (
    put_in("import time as _t; _t.sleep(0.1)"),
    put_in("import requests; _r = requests.get('http://x'); _r.json()"),
    put_in("open('x').read()"),
    put_in("_x = [1, 2]"),
    call_another,
    take_out,
    give_nothing,
    comment,
)


def edited(text: str, rng: random.Random) -> str | None:
    """The text after one random edit that leaves it valid, None where it came to nothing."""
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = text.split("\n")
    if not functions or not rng.choice(EDITS)(rng.choice(functions), lines, rng):  # type: ignore[arg-type]
        return None
    new = "\n".join(lines)
    try:
        ast.parse(new)
    except SyntaxError:
        return None
    return new


def timed(root: Path, cache: bool) -> tuple[CheckReport, float]:
    """A report without what tells how it came about, and its CPU seconds."""
    before = time.process_time()
    report = check(root, Options(notes=True, cache=cache, jobs=1))
    return replace(report, stats=replace(report.stats, parsed_now=0)), time.process_time() - before


def tried(source: Path, edits: int, seed: int) -> Trials:
    """Edit a copy of a project again and again."""
    rng, linked = random.Random(seed), [0]
    link = module._linked

    def counted(*args):  # type: ignore[no-untyped-def]
        linked[0] += 1
        return link(*args)

    module._linked = counted
    warm_s, fresh_s, differ = [], [], 0
    try:
        with tempfile.TemporaryDirectory(prefix="unstall-edits-") as folder:
            root = Path(folder, "tree")
            paths = [path for path in find_sources(source)[0] if copied(source / path, root / path)]
            lines = timed(root, True)[0].stats.lines
            done = 0
            while done < edits:
                file = root / rng.choice(paths)
                before = file.read_text()
                new = edited(before, rng)
                if new is None or new == before:
                    continue
                done += 1
                file.write_text(new)
                linked[0] = 0
                warm, warm_cpu_s = timed(root, True)
                inside = linked[0] == 0
                fresh, fresh_cpu_s = timed(root, False)
                differ += warm != fresh
                if inside:
                    warm_s.append(warm_cpu_s)
                    fresh_s.append(fresh_cpu_s)
                if rng.random() >= STAYS:
                    file.write_text(before)
    finally:
        module._linked = link
    count = max(1, len(warm_s))
    return Trials(source.name, lines, edits, len(warm_s), differ, sum(warm_s) / count, sum(fresh_s) / count)


def copied(source: Path, target: Path) -> bool:
    """Copy a file that parses."""
    try:
        text = source.read_text()
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return True


def write_page(page: Path, rows: list[Trials], seed: int) -> None:
    """Put the table between the marks of a page."""
    lines = [
        f"Python {platform.python_version()}, seed {seed}, CPU seconds of one process, means over the edits inside bodies.",
        "",
        "| project | lines | edits | inside a body | reports that differ | CPU after such an edit | CPU without a cache |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        name = row.name.partition("+")[2] or row.name
        lines.append(
            f"| {name} | {row.lines:,} | {row.edits} | {row.inside} | {row.differ} | {row.warm_s:.2f} s | {row.fresh_s:.2f} s |"
        )
    put(page, "edits", "\n".join(lines))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path)
    parser.add_argument("--edits", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page, as docs/check.md")
    options = parser.parse_args()
    rows = []
    for tree in options.trees:
        rows.append(tried(tree, options.edits, options.seed))
        print(rows[-1], flush=True)
    if options.page:
        write_page(options.page, rows, options.seed)


if __name__ == "__main__":
    main()
