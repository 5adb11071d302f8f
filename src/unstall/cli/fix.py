"""`unstall fix`: rewrite blocking calls, each rewrite proved before it is offered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from unstall import catalogue
from unstall.cli.screen import console
from unstall.errors import BadInput
from unstall.source import edits
from unstall.source.baseline import read_baseline
from unstall.source.check import Options
from unstall.source.fix import FixReport, fix, write
from unstall.source.plans import Plan
from unstall.source.settings import find_settings
from unstall.source.trees import Tree
from unstall.units import plural

DEFAULT_BASELINE = ".unstall-baseline.json"
_POOL_SIZE = 40
_MOST_NAMED = 3


@click.command(name="fix")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--diff", is_flag=True, help="Print what would be changed, and write nothing.")
@click.option("--unsafe", is_flag=True, help="Also make fixes that can change behaviour; each says how.")
@click.option("--allow-dirty", is_flag=True, help="Also change files with uncommitted changes.")
@click.option("--select", multiple=True, metavar="RULE", help="Only these rules, as UNS102 or UNS1. Repeatable.")
@click.option("--ignore", multiple=True, metavar="RULE", help="All but these rules. Repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Paths to leave out. Repeatable.")
@click.option("--notes", is_flag=True, help="Also fix short local calls, as Path.exists.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), help=f"Accepted findings, left alone. [default: {DEFAULT_BASELINE}]"
)
@click.option("--all", "every", is_flag=True, help="Also fix findings that the baseline accepts.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write .unstall_cache.")
@click.pass_context
def command(
    ctx: click.Context, /, paths: tuple[Path, ...], diff: bool, unsafe: bool, allow_dirty: bool, **flags: Any
) -> None:
    """Rewrite blocking calls in PATHS, folders or files; the current folder where none is given.

    Every rewrite is applied in memory, compiled and checked again: the finding must be gone and no new one there.
    What is left is listed with the reason. Exit status: 0 nothing left, 1 findings left, 2 could not run.
    """
    root, chosen = _root(paths or (Path("."),))
    _known((*flags["select"], *flags["ignore"]))
    accepted = frozenset() if flags["every"] else _accepted(root, flags["baseline"])
    report = fix(root, _options(root, flags), unsafe, lambda path: _within(path, chosen), accepted)
    if not diff and not allow_dirty:
        _clean(root, [file.path for file in report.files])
    if not diff:
        write(report)
    screen = console()
    for file in report.files:
        text = edits.diff(file.path, file.text, report.texts[file.path], _headings(report, file.path))
        for line in text.splitlines():
            screen.print(line, style=_STYLES.get(line[:1]) if not line.startswith(("---", "+++")) else "bold")
        screen.print()
    for line in summary(report, diff):
        screen.print(line)
    if accepted:
        screen.print(f"{plural(len(accepted), 'finding')} in the baseline left alone (--all).")
    ctx.exit(1 if report.left or (diff and report.fixed) else 0)


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def summary(report: FixReport, diff: bool) -> list[str]:
    """What was done and what is left, as lines."""
    lines = []
    if not report.found:
        return ["Nothing to fix: no blocking call reaches the event loop."]
    done = "Would fix" if diff else "Fixed"
    proved = " Each was checked again: the finding is gone and no new one appeared." if report.fixed else ""
    files = f" in {plural(len(report.files), 'file')}" if report.files else ""
    lines.append(f"{done} {len(report.fixed)} of {plural(report.found, 'finding')}{files}.{proved}")
    for plan in report.plans:
        if plan.unsafe:
            lines.append(f"Unsafe: {plan.path} {plan.function}: {plan.unsafe}.")
    for number, left in enumerate(report.left):
        site = left.finding.site
        head = "Left for you: " if number == 0 else " " * 14
        lines.append(
            f"{head}{site.path}:{site.line}  {left.finding.rule}  {left.finding.primitive.name}: {left.reason}"
        )
    rules = sorted({left.finding.rule for left in report.left})
    if rules:
        lines.append(" " * 14 + "docs: " + ", ".join(f"unstall explain {rule}" for rule in rules))
    risky = sum(left.unsafe for left in report.left)
    if risky:
        lines.append(f"{plural(risky, 'more fix', 'more fixes')} with --unsafe.")
    pool = any("run_in_threadpool" in report.texts[p.path] or p.kind == "def" for p in report.plans if p.pooled)
    if pool:
        n = report.pooled
        takes = "1 more place now uses" if n == 1 else f"{n} more places now use"
        lines.append(f"Note: {takes} Starlette's pool of {_POOL_SIZE} threads, which all of them share.")
    return lines


def _headings(report: FixReport, path: str) -> Callable[[int, int], str]:
    """For each hunk, why it is made: by the function its lines are in."""
    tree = Tree(path, report.texts[path])
    plans = [plan for plan in report.plans if plan.path == path]

    def why(first: int, last: int) -> str:
        names = {tree.qualname(f) for line in range(first, last + 1) if (f := tree.function_at(line)) is not None}
        mine = [p for p in plans if any(n == p.function or n.startswith(p.function + ".") for n in names)]
        return heading(mine) or "imports"

    return why


def heading(plans: Sequence[Plan]) -> str:
    """Why these changes are made, the calls that move out of one function named together."""
    reasons: dict[str, None] = {}
    for plan in plans:
        name = plan.function.rpartition(".")[2]
        calls = list(dict.fromkeys(p.what for p in plans if p.what and p.function == plan.function))
        if not plan.what or len(calls) == 1:
            reasons[plan.why] = None
            continue
        more = f" and {len(calls) - _MOST_NAMED} more" if len(calls) > _MOST_NAMED else ""
        reasons[f"{name}: {', '.join(f'`{call}`' for call in calls[:_MOST_NAMED])}{more} move to a thread"] = None
    return "; ".join(reasons)


def _options(root: Path, flags: dict[str, Any]) -> Options:
    """The project's own settings, the lists joined with what was given."""
    found = find_settings(root)
    settings = found[1] if found is not None else {}
    return Options(
        exclude=(*settings.get("exclude", ()), *flags["exclude"]),
        select=flags["select"] or tuple(settings.get("select", ())),
        ignore=(*settings.get("ignore", ()), *flags["ignore"]),
        extend_blocking=tuple(settings.get("extend-blocking", ())),
        allow=tuple(settings.get("allow", ())),
        offload=tuple(settings.get("offload", ())),
        entrances=settings.get("entrances", "all"),
        notes=flags["notes"] or settings.get("notes", False),
        tests=settings.get("tests", False),
        cache=not flags["no_cache"],
    )


def _accepted(root: Path, given: Path | None) -> frozenset[str]:
    """The keys in the baseline that `check` would read."""
    found = find_settings(root)
    base, settings = (found[0].parent, found[1]) if found is not None else (root, {})
    path = given or base / settings.get("baseline", DEFAULT_BASELINE)
    known = read_baseline(path)
    if known is None and given:
        raise BadInput(f"there is no {given}", "write it with unstall check --write-baseline")
    return known.keys if known is not None else frozenset()


# --- paths ------------------------------------------------------------------------------------------------


def _root(paths: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """The folder to check, and the paths below it that were asked for. A file is checked with the project around it:
    who else calls what is in it matters."""
    for path in paths:
        if not path.exists():
            raise BadInput(f"{path}: there is no such file or folder", "name a folder or a .py file")
        if path.is_file() and path.suffix != ".py":
            raise BadInput(f"{path}: not a Python file", "name a folder or a .py file")
    resolved = [path.resolve() for path in paths]
    root = Path(os.path.commonpath([p if p.is_dir() else p.parent for p in resolved]))
    if any(path.is_file() for path in resolved):
        root = next(
            (f for f in (root, *root.parents) if (f / "pyproject.toml").exists() or (f / ".git").exists()), root
        )
    return root, tuple(path.relative_to(root).as_posix() for path in resolved)


def _within(path: str, chosen: Sequence[str]) -> bool:
    return any(one == "." or path == one or path.startswith(one + "/") for one in chosen)


def _known(rules: Sequence[str]) -> None:
    if not rules:
        return
    every = {row.rule for row in catalogue.load().rows()}
    for rule in rules:
        if not any(known.startswith(rule) for known in every):
            raise BadInput(f"--select: there is no rule {rule}", f"the rules are {', '.join(sorted(every))}")


def _clean(root: Path, paths: Sequence[str]) -> None:
    """Raise `BadInput` where one of these files has changes that git does not hold yet. Outside of git nothing is asked."""
    if not paths:
        return
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=all", "-z", "--", *paths],
            cwd=root, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode != 0:
        return
    dirty = [line[3:] for line in done.stdout.split("\0") if line[:2].strip()]
    if dirty:
        more = f" and {len(dirty) - 1} more" if len(dirty) > 1 else ""
        raise BadInput(
            f"{dirty[0]}{more}: has uncommitted changes, nothing was written", "commit them, or give --allow-dirty"
        )
