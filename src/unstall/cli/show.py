"""`unstall show`: a result printed or drawn again from its JSON file, without running anything."""

from __future__ import annotations

from pathlib import Path

import click

from unstall.cli.screen import console
from unstall.errors import BadInput


@click.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Draw the report into this file in place of printing it.",
)
def command(file: Path, html_file: Path | None) -> None:
    """Print the result in FILE again, as `unstall lab --json FILE` wrote it; with --html, draw its report.

    Results of every older version are read. Exit status: 0 done, 2 the file cannot be read or written.
    """
    from unstall.records import read_report

    report = read_report(file)
    if html_file is None:
        from unstall.cli.lab_text import print_report

        print_report(report, console())
        return
    from unstall.report.page import render

    page = render(report)
    _write(page, html_file)
    click.echo(f"Report  {html_file} ({len(page.encode()) / 1000:,.0f} KB, one file, works offline)")


def _write(page: str, file: Path) -> None:
    """Write the page whole or not at all: a kill in between leaves the file that was there.

    Raises:
        BadInput: it cannot be written; the message names the path.
    """
    part = file.with_name(file.name + ".part") if file.name else file
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True) if part.is_file() else None
        raise BadInput(f"cannot write {file}: {error.strerror}", "give --html a file in a folder that exists") from None
