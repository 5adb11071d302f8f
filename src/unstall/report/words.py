"""What the page says in words: titles, descriptions and shortened names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from unstall import units
from unstall.model import Experiment, LabReport, PodTimeline, Site, Stall, Trial
from unstall.report.scale import clean

LONGEST = 72


def shorten(text: str, most: int = LONGEST) -> str:
    """A text of at most ``most`` characters; the middle goes, since both ends of a path tell more.

    >>> shorten("abcdefghij", 7)
    'abc…hij'
    """
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def visible(text: str) -> str:
    """Control characters made visible, so that a route cannot reverse or break the line it stands in."""
    return "".join(c if unicodedata.category(c) not in ("Cc", "Cf", "Cs") else f"\\x{ord(c):02x}" for c in text)


def place(site: Site | None) -> str:
    """``app.py:9 in hello``, empty where the site is unknown."""
    if site is None:
        return ""
    where = f"{site.path}:{site.line}"
    return f"{where} in {site.qualname}" if site.qualname else where


def representative(trials: Sequence[Trial]) -> Trial:
    """The trial shown for an arm: the median by restarts, then by missed probes, then by the longest stall."""
    ordered = sorted(trials, key=lambda t: (t.timeline.restarts, t.timeline.missed_probes, t.timeline.longest_stall_s))
    return ordered[len(ordered) // 2]


def never_ran(timeline: PodTimeline) -> bool:
    """True where there are phases, none of them running."""
    return bool(timeline.phases) and all(phase.kind != "running" for phase in timeline.phases)


def describe(name: str, timeline: PodTimeline) -> str:
    """One sentence for people who cannot see the drawing."""
    failed = sum(request.failed for request in timeline.requests)
    facts = [
        f"{name}: {units.seconds(timeline.duration_s)} observed",
        "the pod never ran" if never_ran(timeline) else units.plural(timeline.restarts, "restart"),
        units.plural(timeline.missed_probes, "missed probe"),
    ]
    if timeline.stalls:
        longest = units.seconds(timeline.longest_stall_s)
        facts.append(f"{units.plural(len(timeline.stalls), 'stall')}, the longest {longest}")
    else:
        facts.append("no stall")
    facts.append(
        f"{units.plural(len(timeline.requests), 'request')}, {units.count(failed)} failed"
        if timeline.requests
        else "no request was sent"
    )
    return ", ".join(facts) + "."


def page_title(report: LabReport) -> str:
    """The page's title: a sentence about the worst that was seen."""
    trials = [trial for experiment in report.experiments for trial in experiment.trials]
    if not trials:
        return "No trial was finished"
    worst = clean(max(trials, key=lambda t: (t.timeline.restarts > 0, t.timeline.longest_stall_s)).timeline)[0]
    if any(never_ran(t.timeline) for t in trials) and not worst.longest_stall_s:
        return "The pod never ran"
    if worst.longest_stall_s < 0.1:
        if not any(trial.timeline.stalls for trial in trials):
            return "The event loop was never held"
        return f"The event loop was never held for longer than {units.seconds(worst.longest_stall_s)}"
    stall = max(worst.stalls, key=lambda s: s.duration_s)
    who = shorten(visible(stall.route), 48) if stall.route else "A blocking call"
    row = _row_of(stall, worst)
    what = f"{who} blocks the event loop for {units.seconds(stall.duration_s)}"
    if len(row) > 1:
        what = f"{who} blocks the event loop {len(row)} times in a row, {units.seconds(sum(row))} in all"
    if worst.restarts and worst.missed_probes >= 1:
        return f"{what}; the liveness probe fails and the pod is restarted"
    if worst.restarts:
        return f"{what}; the pod is restarted"
    return f"{what}; everybody else waits"


def _row_of(stall: Stall, timeline: PodTimeline, gap_s: float = 0.1) -> list[float]:
    """The lengths of the stalls of one route that follow each other without a pause, ``stall`` among them.

    Five blocks of 5 s in a row miss probes that one of 5 s does not, so a title that names one would mislead.
    """
    row: list[Stall] = []
    for one in sorted(timeline.stalls, key=lambda s: s.started_at):
        if one.route != stall.route:
            continue
        if row and one.started_at - (row[-1].started_at + row[-1].duration_s) > gap_s:
            if stall in row:
                break
            row = []
        row.append(one)
    return [one.duration_s for one in row] if stall in row else [stall.duration_s]


def guilty_route(stall: Stall) -> str:
    """The route a stall is laid to, in words where it is unknown."""
    return stall.route or "an unknown callback"


def counted(experiment: Experiment) -> str:
    """How many trials stand behind an experiment."""
    arms = max((sum(t.arm == arm.name for t in experiment.trials) for arm in experiment.arms), default=0)
    if arms <= 1:
        return "one trial of each"
    return f"{units.count(arms)} trials of each; shown is the one with the median number of restarts"
