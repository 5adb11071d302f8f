"""A lab result as text: numbers first, story second, verdict last."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from unstall import units
from unstall.model import Experiment, LabReport, Measure, PodTimeline, StoryLine, TableRow, Trial
from unstall.report.lanes import lanes_text
from unstall.report.words import representative

STORY_LINES = 14


def print_report(report: LabReport, console: Console) -> None:
    """Print every experiment of a result, and how long it took."""
    versions = "  ".join(f"{name} {text}" for name, text in report.environment if name not in ("machine", "kubelet"))
    machine = dict(report.environment).get("machine", "")
    console.print(f"unstall {report.version}  {versions}  {machine}")
    told_before: list[PodTimeline] = []
    for experiment in report.experiments:
        console.print()
        print_experiment(experiment, console, told_before)
        told_before += [trial.timeline for trial in experiment.trials]
    if report.interrupted:
        console.print("\nInterrupted: these are the trials that had begun; their numbers are not complete.")


def print_experiment(experiment: Experiment, console: Console, told_before: list[PodTimeline]) -> None:
    """One experiment: what was run, the numbers, the lanes, the story, the verdict.

    A run that an earlier experiment has shown, here ``told_before``, is not told twice.
    """
    name = f"Experiment {experiment.name}  " if experiment.name != "app" else ""
    console.print(Text(f"{name}{experiment.title}", style="bold"))
    told_already = dict(experiment.settings)
    facts = [
        *experiment.settings,
        *((arm.name, arm.about or arm.target) for arm in experiment.arms if arm.name not in told_already),
    ]
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        console.print(f"  {label:<{width}}  {text}")
    console.print()
    for line in table_lines([arm.name for arm in experiment.arms], experiment.table):
        console.print("  " + line)
    for trial in told(experiment):
        if trial.timeline in told_before:
            continue
        console.print()
        console.print(f"  What happened ({_which(experiment, trial)})")
        print_lanes(trial, console)
        for told_line in story_lines(trial.story):
            console.print("    " + told_line)
    console.print()
    for note in experiment.notes:
        console.print(f"  {note}")
    verdict = experiment.verdict
    how_often = f" ({verdict.held} of {verdict.of} trials)" if verdict.of > 1 else ""
    word = Text("HOLDS" if verdict.holds else "DOES NOT HOLD", style="bold green" if verdict.holds else "bold red")
    console.print(Text("  ").append_text(word).append(f"  {verdict.sentence}{how_often}"))


def table_lines(columns: list[str], rows: tuple[TableRow, ...]) -> list[str]:
    """The table of numbers, aligned right, with the difference where arms are compared."""
    compared = any(row.difference for row in rows)
    header = ["", *columns, *(["difference"] if compared else [])]
    body = []
    for row in rows:
        cells = [row.label, *(units.measure(cell) for cell in row.cells)]
        if compared:
            gap = row.difference
            cells.append(f"{_signed(gap)}  {units.interval(gap)}".rstrip() if gap else "")
        body.append(cells)
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = []
    for line in [header, *body]:
        first, *others = line
        shown = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        if compared:
            shown[-1] = others[-1]
        lines.append("  ".join([first.ljust(widths[0]), *shown]).rstrip())
    return lines


def _signed(gap: Measure) -> str:
    text = units.measure(gap)
    return f"+{text}" if gap.unit != "ratio" and gap.value is not None and gap.value > 0 else text


def told(experiment: Experiment) -> list[Trial]:
    """The trials whose story is told: the representative one of each arm, as on the page."""
    by_arm = [[trial for trial in experiment.trials if trial.arm == arm.name] for arm in experiment.arms]
    return [representative(trials) for trials in by_arm if trials]


def _which(experiment: Experiment, trial: Trial) -> str:
    several = sum(t.arm == trial.arm for t in experiment.trials) > 1
    return f"trial {trial.index}, {trial.arm}" if several else trial.arm


def print_lanes(trial: Trial, console: Console) -> None:
    """The trial's timeline as lanes of text."""
    fits = (console.encoding or "").lower().replace("-", "") == "utf8"
    for line in lanes_text(trial.timeline, width=76, ascii=not fits).splitlines():
        console.print("    " + line)


def story_lines(story: tuple[StoryLine, ...]) -> list[str]:
    """The story in columns: time, who, what, where; a long one keeps its beginning and its end."""
    if not story:
        return ["nothing: no stall, no missed probe, no restart"]
    kept = list(story)
    left_out = len(kept) - STORY_LINES
    if left_out > 0:
        kept = kept[: STORY_LINES - 4] + kept[-4:]
    who = max(len(line.who) for line in kept)
    what = max(len(line.what) for line in kept if len(line.what) <= 60) if any(len(x.what) <= 60 for x in kept) else 0
    lines = [
        f"{units.moment(line.at):>8}  {line.who:<{who}}  {line.what:<{what}}  {line.where}".rstrip() for line in kept
    ]
    if left_out > 0:
        lines.insert(
            STORY_LINES - 4, f"{'...':>8}  {units.plural(left_out, 'line')} left out (all of them with --json)"
        )
    return lines
