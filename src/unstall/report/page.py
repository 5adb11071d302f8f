"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files

from unstall import units
from unstall.errors import MissingExtra
from unstall.model import LabReport
from unstall.report import words
from unstall.report.sections import FOLDED_BYTES, Section, drawing, section


def render(report: LabReport) -> str:
    """The whole report as HTML: styles, drawings and script inside, no request to anywhere.

    Raises:
        MissingExtra: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtra("Jinja2", "lab") from None

    sections: list[Section] = []
    room = FOLDED_BYTES
    for number, experiment in enumerate(report.experiments, start=1):
        made, room = section(experiment, number, room)
        sections.append(made)
    hero = _hero(report)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _file("page.html.jinja")
    )
    return page.render(
        title=words.page_title(report),
        report=report,
        created=_when(report.created),
        hero=sections[hero] if hero is not None else None,
        hero_timeline=drawing(report.experiments[hero], "timeline-0") if hero is not None else "",
        elapsed=units.seconds(report.elapsed_s) if report.elapsed_s else "",
        sections=sections,
        # Our own files, and drawings whose every text was escaped when it was drawn.
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
        drawn=Markup,
        number=units.count,
        brief=lambda text, most: words.shorten(words.visible(text), most),
    )


def _hero(report: LabReport) -> int | None:
    """Which experiment's timeline also stands on top: the one with a restart, where there are several."""
    restarts = [sum(t.timeline.restarts for t in one.trials) for one in report.experiments]
    if len(restarts) < 2 or not any(restarts):
        return None
    return restarts.index(max(restarts))


def _when(created: str) -> str:
    """``22 November 2026, 16:30 UTC``; as it stands where it is not a time."""
    try:
        at = datetime.fromisoformat(created).astimezone(UTC)
    except ValueError:
        return words.visible(created)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _file(name: str) -> str:
    return files("unstall.report").joinpath(name).read_text(encoding="utf-8")
