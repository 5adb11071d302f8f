"""An experiment turned into what the page's template prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unstall import units
from unstall.model import (
    Exec,
    Experiment,
    Grpc,
    HttpGet,
    Measure,
    ProbeRecord,
    ProbeSpec,
    ProbeType,
    TableRow,
    TcpSocket,
    Trial,
)
from unstall.report import words
from unstall.report.events import Events, events_of
from unstall.report.guilty import Guilty, guilty_lines
from unstall.report.handover import Moment, moment_of
from unstall.report.scale import clean
from unstall.report.timeline import Strip, timeline_svg

MOST_STORY = 40
FOLDED_BYTES = 60_000
"""How much the drawings of the trials that are not shown may add, all experiments together."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and its interval, in words."""

    figure: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of numbers."""

    label: str
    cells: tuple[Cell, ...]
    difference: Cell | None


@dataclass(frozen=True, slots=True)
class StoryRow:
    """A line of the story, shortened; ``whole`` is the full text where something was left out."""

    time: str
    who: str
    what: str
    where: str
    whole: str
    kind: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The trial shown for one arm: its story, its events and one moment of it."""

    name: str
    about: str
    target: str
    caption: str
    story: tuple[StoryRow, ...]
    more_story: int
    events: Events
    moment: Moment | None


@dataclass(frozen=True, slots=True)
class Section:
    """One experiment as the page shows it."""

    ident: str
    name: str
    title: str
    verdict: str
    holds: bool
    held: str
    counted: str
    arms: tuple[str, ...]
    rows: tuple[Row, ...]
    compared: bool
    timeline: str
    legend: tuple[tuple[str, str], ...]
    shown: tuple[Shown, ...]
    moments: tuple[Shown, ...]
    guilty: tuple[Guilty, ...]
    diff: tuple[tuple[str, str], ...]
    folded: tuple[tuple[str, str], ...]
    not_drawn: int
    settings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def section(experiment: Experiment, number: int, room: int) -> tuple[Section, int]:
    """Prepare one experiment; ``room`` is how many bytes folded drawings may still take, returned reduced."""
    ident = f"experiment-{number}"
    chosen = [words.representative(trials) for _, trials in _by_arm(experiment)]
    cleaned = [Trial(t.arm, t.index, clean(t.timeline)[0], t.story) for t in chosen]
    folded, not_drawn = _folded(experiment, chosen, ident, room)
    stalls = [(t.arm, stall) for t in cleaned for stall in t.timeline.stalls]
    svg = drawing(experiment, f"timeline-{number}")
    shown = tuple(_shown(trial, experiment) for trial in cleaned)
    made = Section(
        ident=ident,
        name=experiment.name,
        title=words.visible(experiment.title),
        verdict=words.visible(experiment.verdict.sentence),
        holds=experiment.verdict.holds,
        held=_held(experiment),
        counted=words.counted(experiment),
        arms=tuple(words.visible(arm.name) for arm in experiment.arms),
        rows=tuple(_row(row) for row in experiment.table),
        compared=any(row.difference for row in experiment.table),
        timeline=svg,
        legend=_legend(cleaned, svg),
        shown=shown,
        moments=_telling(shown),
        guilty=tuple(guilty_lines(stalls, experiment.findings)),
        diff=tuple(_diff(experiment.diff)),
        folded=tuple(folded),
        not_drawn=not_drawn,
        settings=_settings(experiment),
        notes=tuple(words.visible(note) for note in experiment.notes),
    )
    return made, room - sum(len(svg) for _, svg in folded)


def drawing(experiment: Experiment, ident: str) -> str:
    """The shown trials of all arms on one axis; empty where there is no trial."""
    about = {arm.name: arm.about for arm in experiment.arms}
    chosen = [words.representative(trials) for _, trials in _by_arm(experiment)]
    return timeline_svg([Strip(t.arm, t.timeline, about.get(t.arm, "")) for t in chosen], ident) if chosen else ""


def _by_arm(experiment: Experiment) -> list[tuple[str, list[Trial]]]:
    """The arms that were tried, in order, each with its trials."""
    names = dict.fromkeys([arm.name for arm in experiment.arms] + [trial.arm for trial in experiment.trials])
    groups = [(name, [trial for trial in experiment.trials if trial.arm == name]) for name in names]
    return [(name, trials) for name, trials in groups if trials]


def _folded(
    experiment: Experiment, chosen: Sequence[Trial], ident: str, room: int
) -> tuple[list[tuple[str, str]], int]:
    """The other trials, those of one index in one drawing, as far as there is room."""
    others = [trial for trial in experiment.trials if not any(trial is one for one in chosen)]
    drawings: list[tuple[str, str]] = []
    for index in sorted({trial.index for trial in others}):
        strips = [Strip(t.arm, t.timeline) for t in others if t.index == index]
        if sum(len(s.timeline.requests) + len(s.timeline.probes) for s in strips) * 12 > room:
            return drawings, len(others) - sum(t.index < index for t in others)
        svg = timeline_svg(strips, f"{ident}-trial-{index}")
        room -= len(svg)
        if room < 0:
            return drawings, len(others) - sum(t.index < index for t in others)
        drawings.append((f"Trial {index}", svg))
    return drawings, 0


def _held(experiment: Experiment) -> str:
    verdict = experiment.verdict
    return "" if verdict.of <= 1 else f"in {units.count(verdict.held)} of {units.count(verdict.of)} trials"


def _row(row: TableRow) -> Row:
    return Row(
        words.visible(row.label), tuple(map(_cell, row.cells)), _cell(row.difference) if row.difference else None
    )


def _cell(measure: Measure) -> Cell:
    """The figure, and the interval where it says more than the figure."""
    figure = units.measure(measure)
    bounds = [bound for bound in (measure.low, measure.high) if bound is not None and math.isfinite(bound)]
    interval = units.interval(measure) if len(set(bounds)) == 2 else ""
    return Cell(figure, interval)


def _shown(trial: Trial, experiment: Experiment) -> Shown:
    arm = next((arm for arm in experiment.arms if arm.name == trial.arm), None)
    many = sum(t.arm == trial.arm for t in experiment.trials) > 1
    name = words.visible(trial.arm)
    return Shown(
        name=words.shorten(name, 60),
        about=words.visible(arm.about) if arm else "",
        target=words.visible(arm.target) if arm else "",
        caption=f"{words.shorten(name, 60)}, trial {trial.index}" if many else words.shorten(name, 60),
        story=tuple(_story_rows(trial)),
        more_story=max(0, len(trial.story) - MOST_STORY),
        events=events_of(trial.timeline),
        moment=moment_of(trial.timeline),
    )


def _telling(shown: Sequence[Shown]) -> tuple[Shown, ...]:
    """The arms whose moment is drawn: the one in which most waited, and the first whose loop was free."""
    held = [one for one in shown if one.moment and one.moment.stall]
    free = [one for one in shown if one.moment and not one.moment.stall]
    worst = max(held, key=lambda one: one.moment.waiting if one.moment else 0, default=None)
    return tuple(one for one in shown if one is worst or one in free[:1])


def _story_rows(trial: Trial) -> list[StoryRow]:
    rows = []
    for line in trial.story[:MOST_STORY]:
        whole = [words.visible(part) for part in (line.who, line.what, line.where)]
        short = [words.shorten(part, most) for part, most in zip(whole, (48, 90, 64), strict=True)]
        kind = "miss" if "probe" in line.who else "kill" if line.who in ("kubelet", "container") else "stall"
        rest = "  ".join(whole) if short != whole else ""
        rows.append(StoryRow(units.moment(line.at), short[0], short[1], short[2], rest, kind))
    return rows


def _legend(trials: Sequence[Trial], svg: str) -> tuple[tuple[str, str], ...]:
    """What occurs in the drawing, as CSS class and words, in the order of the lanes."""
    kinds = {f"pod-{phase.kind}" for trial in trials for phase in trial.timeline.phases}
    kinds |= {"unready" for trial in trials if trial.timeline.unready}
    kinds |= {f"probe-{_answer(probe)}" for trial in trials for probe in trial.timeline.probes}
    kinds |= {"stall" for trial in trials if trial.timeline.stalls}
    kinds |= {f"req-{status}" for status in ("served", "waiting", "failed") if f'class="req {status}' in svg}
    names = {
        "pod-running": "running",
        "pod-starting": "starting",
        "pod-terminating": "told to stop",
        "pod-waiting": "waiting in back-off",
        "unready": "not ready",
        "probe-success": "probe answered",
        "probe-failure": "probe missed",
        "probe-early": "not started yet",
        "probe-error": "probe not counted",
        "stall": "event loop blocked",
        "req-served": "request served",
        "req-waiting": "request waiting behind a stall",
        "req-failed": "request failed",
    }
    return tuple((kind, name) for kind, name in names.items() if kind in kinds)


def _answer(probe: ProbeRecord) -> str:
    """What a probe's mark means: its outcome, but early where a startup probe found nobody yet."""
    return "early" if probe.type is ProbeType.STARTUP and probe.outcome == "failure" else probe.outcome


def _diff(diff: str) -> list[tuple[str, str]]:
    """Each line of a unified diff with its kind: added, removed, hunk, file or same."""
    kinds = (("+++", "file"), ("---", "file"), ("@@", "hunk"), ("+", "added"), ("-", "removed"))
    lines = [words.visible(line.expandtabs(4)) for line in diff.splitlines()[:400]]
    return [(next((kind for mark, kind in kinds if line.startswith(mark)), "same"), line) for line in lines]


def _settings(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    """The exact settings: the arms' targets, what the lab noted, and probes it did not note."""
    arms = [(f"arm {arm.name}", f"{arm.target}  {arm.about}".strip()) for arm in experiment.arms]
    noted = [label for label, _ in experiment.settings]
    probes = [(str(p.type), _probe(p)) for p in experiment.probes if str(p.type) not in noted]
    return tuple((words.visible(a), words.visible(b)) for a, b in (*arms, *experiment.settings, *probes))


def _probe(probe: ProbeSpec) -> str:
    match probe.handler:
        case HttpGet(port=port, path=path):
            asked = f"GET {path} on port {port}"
        case TcpSocket(port=port):
            asked = f"TCP connection to port {port}"
        case Exec(command=command):
            asked = f"command {' '.join(command)}"
        case Grpc(port=port, service=service):
            asked = f"gRPC health check on port {port} {service}".strip()
    failures = units.plural(probe.failure_threshold, "failure")
    return f"{asked}, every {probe.period_s} s, timeout {probe.timeout_s} s, {failures}"
