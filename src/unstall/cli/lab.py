"""`unstall lab`: the built-in experiments, or your app under your probes."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from unstall import units
from unstall.cli.screen import console
from unstall.errors import BadInput, MissingExtra
from unstall.model import LabReport

NEEDED = ("fastapi", "uvicorn", "aiohttp", "h2", "jinja2", "requests")


@click.command("lab")
@click.argument("app", required=False)
@click.option("--quick", is_flag=True, help="Shorter blocks and probes for the built-in experiments (within 25 s).")
@click.option(
    "--request",
    "requests",
    multiple=True,
    metavar='"GET /hello"',
    help="What to send; repeatable. Default: all GET routes without parameters.",
)
@click.option(
    "--header", "headers", multiple=True, metavar='"Name: value"', help="A header of every request; repeatable."
)
@click.option(
    "--body",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file whose content is the JSON body of every request.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Requests per second, open loop. Default: 10."
)
@click.option(
    "--concurrency", type=click.IntRange(min=1), help="In place of a rate: clients that wait for their answers."
)
@click.option("--burst", type=click.IntRange(min=1), help="In place of a rate: this many of each request at once.")
@click.option(
    "--duration",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="Seconds that each trial is observed.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Deployment, StatefulSet, DaemonSet, Job or Pod whose probes are used.",
)
@click.option("--container", help="Which container of the manifest.")
@click.option("--liveness", metavar='"GET /health"', help="The liveness probe where there is no manifest.")
@click.option(
    "--period", type=click.IntRange(min=1), default=10, show_default=True, help="periodSeconds of --liveness."
)
@click.option(
    "--timeout", type=click.IntRange(min=1), default=1, show_default=True, help="timeoutSeconds of --liveness."
)
@click.option(
    "--failures", type=click.IntRange(min=1), default=3, show_default=True, help="failureThreshold of --liveness."
)
@click.option(
    "--against", metavar="OTHER", help="A second arm: another app, or a folder with another version of this one."
)
@click.option("--fix", is_flag=True, help="A second arm: a copy of this app with every safe fix.")
@click.option("--trials", type=click.IntRange(min=1), help="Trials of each arm. Default: 1, with --against or --fix 3.")
@click.option("--server-args", default="", metavar='"--workers 2"', help="Handed to uvicorn.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the app. Default: a free one.")
@click.option(
    "--start-limit",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Seconds until the app must have opened its port.",
)
@click.option("--allow-exec", is_flag=True, help="Run exec probes and lifecycle hooks of the manifest on this machine.")
@click.option("--allow-remote", is_flag=True, help="Send probes with httpGet.host to other machines.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the whole result, all events included.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("unstall-lab.html"),
    show_default=True,
    help="Where the report goes.",
)
def command(app: str | None, quick: bool, json_file: Path | None, html_file: Path, **asked: Any) -> None:
    """Prove it: run APP (package.module:app or path/to/file.py:app) under load and under real probes.

    Without APP: the built-in experiments, about a minute. Exit status: 0 the verdict holds, 1 it does not,
    2 could not run.
    """
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"`unstall lab` needs {module}, which", "lab")
    for file in (json_file, html_file):
        if file is not None and not file.absolute().parent.is_dir():
            raise BadInput(f"no folder {file.parent} to write {file.name} into")
    from unstall.cli.lab_run import run_builtin, run_own

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to be told to stop is to be interrupted: clean up
    began_at = time.monotonic()
    if app is None:
        given = [f"--{n.replace('_', '-')}" for n in asked if _was_given(n)]
        if given:
            raise BadInput(f"{', '.join(given)}: for an app of yours", "name the app: unstall lab package.module:app")
        report = run_builtin(quick, began_at)
    else:
        report = run_own(app, began_at, **asked)
    finish(report, json_file, html_file)


def _was_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def finish(report: LabReport, json_file: Path | None, html_file: Path) -> None:
    """Print, write the files, and exit as the verdicts say."""
    from unstall.cli.lab_text import print_report
    from unstall.records import write_report
    from unstall.report.page import render

    screen = console()
    screen.print()
    print_report(report, screen)
    screen.print()
    if report.experiments:
        page = render(report)
        html_file.write_text(page, encoding="utf-8")
        size = f"{len(page.encode()) / 1000:,.0f} KB"
        screen.print(f"Report  {html_file} ({size}, one file, works offline)")
        if json_file is not None:
            write_report(report, json_file)
            screen.print(f"Result  {json_file} (reprint it: unstall show {json_file})")
    took = units.seconds(report.elapsed_s)
    held = sum(one.verdict.holds for one in report.experiments)
    screen.print(f"{held} of {units.plural(len(report.experiments), 'verdict')} held. Took {took}.")
    if report.interrupted:
        sys.exit(130)
    sys.exit(0 if report.experiments and held == len(report.experiments) else 1)
