"""`unstall check`: finds blocking calls that reach the event loop."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from unstall.errors import BadInput
from unstall.source.baseline import read_baseline, shrunk, write_baseline
from unstall.source.check import CheckReport, Options, check
from unstall.source.settings import find_settings
from unstall.source.since import Since

DEFAULT_BASELINE = ".unstall-baseline.json"


@click.command("check")
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option(
    "--output-format",
    type=click.Choice(["text", "concise", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="How to print findings.",
)
@click.option(
    "--entrances", type=click.Choice(["all", "routes"]), help="Start from every coroutine, or from routes only."
)
@click.option("--select", multiple=True, metavar="RULE", help="Only these rules, as UNS102 or UNS1. Repeatable.")
@click.option("--ignore", multiple=True, metavar="RULE", help="All but these rules. Repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Paths to leave out. Repeatable.")
@click.option(
    "--extend-blocking", multiple=True, metavar="ORIGIN", help="Also blocking, as mylib.Client().send. Repeatable."
)
@click.option("--offload", multiple=True, metavar="ORIGIN", help="Runs its first argument off the loop. Repeatable.")
@click.option("--allow", multiple=True, metavar="ORIGIN", help="Never report this call. Repeatable.")
@click.option(
    "--notes/--no-notes", default=None, help="Also show short local calls, as Path.exists. They are no findings."
)
@click.option("--tests/--no-tests", default=None, help="Also check test files.")
@click.option("--baseline", type=click.Path(path_type=Path), help=f"Accepted findings. [default: {DEFAULT_BASELINE}]")
@click.option("--write-baseline", is_flag=True, help="Accept today's findings; a baseline that exists only shrinks.")
@click.option("--diff-base", metavar="REV", help="Only what the work since this git revision brings in.")
@click.option(
    "--fixes/--no-fixes", default=True, help="Say which findings `unstall fix` has a rewrite for. [default: yes]"
)
@click.option("--all-chains", is_flag=True, help="Print every chain of a finding.")
@click.option("--show-unknown", is_flag=True, help="List the calls that could not be followed.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write .unstall_cache.")
def command(path: Path, output_format: str, **flags: Any) -> None:
    """Find every blocking call that reaches the event loop, with its whole chain.

    Exit status: 0 nothing found, 1 errors or warnings found, 2 could not run.
    """
    is_program = bool(click.get_current_context().obj)
    if is_program:
        gc.disable()  # the process ends in a moment: to look for what could be freed would only take time
    if not path.exists():
        raise BadInput(f"there is no {path}")
    if flags["diff_base"] and flags["write_baseline"]:
        raise BadInput("--diff-base and --write-baseline exclude each other", "leave one out")
    options, settings, base = _options(path, flags)
    started = time.perf_counter()
    since = Since(path, options, flags["diff_base"]) if flags["diff_base"] else None
    report = since.report() if since else check(path, options)
    elapsed_s = time.perf_counter() - started
    baseline_path = flags["baseline"] or base / settings.get("baseline", DEFAULT_BASELINE)
    known = read_baseline(baseline_path)
    if known is None and flags["baseline"] and not flags["write_baseline"]:
        raise BadInput(f"there is no {baseline_path}", "write it with --write-baseline")
    if flags["write_baseline"]:
        counted = [f for f in report.findings if f.severity != "note"]
        write_baseline(baseline_path, shrunk(known, counted))
        known = read_baseline(baseline_path)
    accepted, gone = 0, 0
    if known is not None:
        new, old, fixed = known.split(report.findings)
        report, accepted, gone = replace(report, findings=new), len(old), len(fixed)
    if since:
        gone = 0  # of the findings that were there before, nothing is known here
    marks = _marks(path, report, options, output_format) if flags["fixes"] else {}
    _show(report, path, output_format, elapsed_s, accepted, gone, marks, flags)
    if since and output_format == "text":
        click.echo(since.said)
    status = 1 if any(f.severity != "note" for f in report.findings) else 0
    if is_program:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # to take all objects down one by one would take a second of a large project
    sys.exit(status)


def _options(path: Path, flags: dict[str, Any]) -> tuple[Options, dict[str, Any], Path]:
    """Flags over settings over defaults; lists of both are joined."""
    found = find_settings(path if path.is_dir() else path.parent)
    settings = found[1] if found is not None else {}
    base = found[0].parent if found is not None else Path()

    def both(name: str) -> tuple[str, ...]:
        return (*settings.get(name.replace("_", "-"), ()), *flags[name])

    def either(name: str, default: Any) -> Any:
        return flags[name] if flags[name] is not None else settings.get(name, default)

    options = Options(
        exclude=both("exclude"),
        select=flags["select"] or tuple(settings.get("select", ())),
        ignore=both("ignore"),
        extend_blocking=both("extend_blocking"),
        allow=both("allow"),
        offload=both("offload"),
        entrances=either("entrances", "all"),
        notes=either("notes", False),
        tests=either("tests", False),
        cache=not flags["no_cache"],
    )
    return options, settings, base


def _marks(path: Path, report: CheckReport, options: Options, output_format: str) -> dict[str, str]:
    """What `unstall fix` has for the findings; not looked for where the format has no place to say it."""
    if output_format in ("concise", "github"):
        return {}
    from unstall.source.marks import fixes

    return fixes(path, report.findings, options)


def _show(
    report: CheckReport,
    path: Path,
    output_format: str,
    elapsed_s: float,
    accepted: int,
    gone: int,
    marks: dict[str, str],
    flags: dict[str, Any],
) -> None:
    from unstall.cli import formats

    if output_format == "text":
        _show_text(report, path, elapsed_s, accepted, gone, marks, flags)
        return
    prefix = _prefix(path).replace(os.sep, "/")
    machine = {
        "json": lambda: formats.to_json(report, marks),
        "sarif": lambda: formats.to_sarif(report, prefix, _page, marks),
        "github": lambda: formats.to_github(report, prefix),
        "concise": lambda: formats.to_concise(report, prefix),
    }
    text = machine[output_format]()
    click.echo(text, nl=bool(text) and not text.endswith("\n"))


def _prefix(path: Path) -> str:
    """What stands before the paths of a report, so that a terminal, an editor or GitHub finds them from here."""
    root = path if path.is_dir() else path.parent
    if root.is_absolute() and root.is_relative_to(Path.cwd()):
        root = root.relative_to(Path.cwd())
    return "" if str(root) == "." else str(root).rstrip(os.sep) + os.sep


def _page(code: str) -> str:
    from unstall.catalogue.rules import rule

    return rule(code).page


def _show_text(
    report: CheckReport,
    path: Path,
    elapsed_s: float,
    accepted: int,
    gone: int,
    marks: dict[str, str],
    flags: dict[str, Any],
) -> None:
    from unstall.cli import text
    from unstall.cli.screen import console as terminal

    prefix = _prefix(path)
    console = terminal()
    sources = text.Sources(path if path.is_dir() else path.parent)
    for finding in report.findings:
        for line in text.frame(finding, sources, prefix, flags["all_chains"], marks.get(finding.key)):
            console.print(line)
        console.print()
    for row in text.summary(report, elapsed_s, gone, accepted, flags["show_unknown"], len(marks)):
        console.print(row)
