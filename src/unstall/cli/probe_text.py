"""What `unstall probe` found, as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from unstall import units
from unstall.kubelet import odds
from unstall.kubelet.recording import Recording
from unstall.model import Measure, ProbeType
from unstall.probe.advise import Advice
from unstall.probe.forecast import Forecast, History, held_out, label
from unstall.probe.rewrite import Rewritten, rewrite
from unstall.probe.suggestion import Suggestion
from unstall.probe.words import asked, settings
from unstall.probe.workload import Workload

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """One container with what was found: rules, the table of settings, and what to change."""

    workload: Workload
    findings: tuple[Advice, ...] = ()
    table: tuple[Forecast, ...] = ()
    suggestion: Suggestion = Suggestion({})


def would_write(judged: Sequence[Judged]) -> list[Rewritten | None]:
    """What `--write` would do for each container; None where there is nothing to write."""
    done: dict[int, Rewritten] = {}
    wanted = [one for one in judged if one.suggestion.patch]
    for path, group in groupby(wanted, key=lambda one: one.workload.spec.path):
        inside = list(group)
        told = rewrite(path, [(one.workload, one.suggestion.patch) for one in inside], write=False)
        done |= {id(one): what for one, what in zip(inside, told, strict=True)}
    return [done.get(id(one)) for one in judged]


def as_text(judged: Sequence[Judged], recording: Recording | None, blocks: tuple[float, ...]) -> str:
    """The screen: findings first, then a block for each container, then what one may do."""
    lines = [f"{one.path}:{one.line}  {one.rule}  {one.text}" for each in judged for one in each.findings]
    for one in judged:
        lines += ["", *_container(one, recording, blocks)]
    lines += _write(judged)
    return "\n".join(lines[1:] if lines and not lines[0] else lines)


def _container(one: Judged, recording: Recording | None, blocks: tuple[float, ...]) -> list[str]:
    workload = one.workload
    probe = workload.spec.probe(ProbeType.LIVENESS)
    head = f"{workload.name}  container {workload.spec.container}"
    if probe is None:
        return [head, "  no liveness probe: a block is never restarted, and a dead pod is never found"]
    lines = [head, f"  liveness {asked(probe)}: {settings(probe)}"]
    if not odds.asks_the_loop(probe):
        return [*lines, "  it passes on a blocked loop: a block is never restarted, and a dead loop is never found"]
    if recording is None:
        return lines + _curve(workload)
    if not recording.lengths_s:
        return [*lines, "  no stall was recorded" + _watching(recording)]
    lines += [*_odds(workload, blocks), *_table(one.table, recording)]
    return lines if blocks else [*lines, *_held_out(one, recording)]


def _odds(workload: Workload, blocks: tuple[float, ...]) -> list[str]:
    return [
        f"  restart probability per {units.moment(block)} block: "
        f"{units.measure(Measure(odds.restart_probability(workload.spec, block), 'probability'))}"
        for block in dict.fromkeys(blocks)
    ]


def _curve(workload: Workload) -> list[str]:
    spec = workload.spec
    return [
        f"  survives every block up to {units.moment(odds.longest_survived_s(spec))}; "
        f"finds a dead pod within {units.moment(odds.found_within_s(spec))}",
        *_odds(workload, tuple(block for block, _ in odds.curve(spec))),
    ]


def _table(table: Sequence[Forecast], recording: Recording) -> list[str]:
    rates = recording.watched_s is not None
    head = ["liveness setting", "restarts per pod and day (95 %)" if rates else "restarts per stall"]
    rows = [[*head, *(["not ready"] if rates else []), "finds a dead pod in"]]
    for one in table:
        cost = _rate(one.restarts_per_day) if one.restarts_per_day else f"{one.per_stall:.2f}"
        share = [] if one.unready is None else [f"{one.unready * 100:.2f} %"]
        mark = "  <- suggested" if one.suggested else ""
        rows.append([one.label, cost, *share, units.moment(one.found_within_s) + mark])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    printed = ["    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    against = f"  against {units.plural(len(recording.lengths_s), 'stall')}{_watching(recording)}"
    return [against, *_notes(recording), *(line.rstrip() for line in printed), *_after(table, recording)]


def _watching(recording: Recording) -> str:
    if recording.watched_s is None:
        return ""
    whom = "one pod" if recording.hosts == 1 else units.plural(recording.hosts, "pod")
    return f" in {units.seconds(recording.watched_s)} of watching {whom}"


def _notes(recording: Recording) -> list[str]:
    """What limits the figures below."""
    notes = [
        (recording.watched_s is None, "Nobody recorded for how long it was watched: odds per stall, no rates."),
        (
            recording.cut,
            f"{units.count(recording.cut)} of them ended with their process: they would have lasted longer.",
        ),
        (
            recording.lost,
            f"{units.count(recording.lost)} more were rotated away: they are taken to have been like these.",
        ),
        (recording.broken, f"{units.plural(recording.broken, 'line')} of the record could not be read."),
        (
            recording.workers > 1,
            f"Recorded with {recording.workers} workers: another may answer the probe, so the restarts are at most these.",
        ),
        (
            recording.threshold_s > 1,
            f"Stalls below {units.seconds(recording.threshold_s)} were not recorded everywhere.",
        ),
    ]
    return [f"  {text}" for applies, text in notes if applies]


def _rate(measure: Measure) -> str:
    if measure.low is None or measure.high is None or measure.value is None:
        return units.measure(measure)
    return f"{measure.value:,.1f} ({measure.low:,.1f} to {measure.high:,.1f})"


def _after(table: Sequence[Forecast], recording: Recording) -> list[str]:
    longest = max(recording.lengths_s, default=0.0)
    if any(one.suggested for one in table):
        return [
            f"  Wider probes hide the stalls from Kubernetes, not from your users: the longest is "
            f"{units.seconds(longest)} all the same."
        ]
    if table and table[0].per_stall == 0:
        return ["  No stall here can restart it as it is set now."]
    return []


def _write(judged: Sequence[Judged]) -> list[str]:
    """What `--write` would change, a line for each container."""
    lines: list[str] = []
    for one, done in zip(judged, would_write(judged), strict=True):
        if done is None:
            continue
        what = f"{one.workload.spec.container}: {'; '.join(one.suggestion.told)}"
        if done.refused:
            lines.append(f"  --patch  prints a patch for {what}  (it cannot be written: {done.refused})")
        else:
            lines.append(f"  --write  changes {units.plural(done.lines, 'line')} for {what}")
    return ["", *lines] if lines else []


def _held_out(one: Judged, recording: Recording) -> list[str]:
    """The honest check: what the first half of the record would have chosen, in the second half."""
    judged = held_out(one.workload.spec, History(recording.lengths_s))
    if judged is None:
        return []
    what = label(judged.probe) if judged.probe is not None else "the present setting"
    return [
        f"  Chosen on the first half of these stalls: {what}; in the second half {judged.per_stall:.2f} restarts per stall."
    ]


# --- JSON -----------------------------------------------------------------------------------------


def as_json(judged: Sequence[Judged], recording: Recording | None, blocks: tuple[float, ...]) -> str:
    """Schema 1: one object a container, in the order of the files."""
    rows = [_row(one, done, blocks) for one, done in zip(judged, would_write(judged), strict=True)]
    return json.dumps({"schema": SCHEMA, "recording": _recording(recording), "containers": rows}, indent=2)


def _recording(recording: Recording | None) -> dict[str, Any] | None:
    if recording is None:
        return None
    return {
        "stalls": len(recording.lengths_s),
        "longest_s": max(recording.lengths_s, default=None),
        "watched_s": recording.watched_s,
        "pods": recording.hosts,
        "cut": recording.cut,
        "lost": recording.lost,
        "unreadable_lines": recording.broken,
    }


def _row(one: Judged, done: Rewritten | None, blocks: tuple[float, ...]) -> dict[str, Any]:
    workload, spec = one.workload, one.workload.spec
    found_within = odds.found_within_s(spec)
    return {
        "path": spec.path,
        "line": spec.line,
        "workload": workload.name,
        "container": spec.container,
        "findings": [{"rule": f.rule, "path": f.path, "line": f.line, "text": f.text} for f in one.findings],
        "found_within_s": found_within if math.isfinite(found_within) else None,
        "blocks": [
            {"block_s": block, "restart_probability": odds.restart_probability(spec, block)}
            for block in blocks or [point for point, _ in odds.curve(spec)]
        ],
        "settings": [_setting(each) for each in one.table],
        "suggestion": _suggestion(one, done),
    }


def _suggestion(one: Judged, done: Rewritten | None) -> dict[str, Any] | None:
    if done is None:
        return None
    about = {"patch": one.suggestion.patch, "about": list(one.suggestion.told)}
    return {**about, "lines": None if done.refused else done.lines, "refused": done.refused or None}


def _setting(one: Forecast) -> dict[str, Any]:
    rate = one.restarts_per_day
    return {
        "label": one.label,
        "timeout_s": one.probe.timeout_s if one.probe else None,
        "failure_threshold": one.probe.failure_threshold if one.probe else None,
        "restarts_per_stall": one.per_stall,
        "restarts_per_pod_day": {"value": rate.value, "low": rate.low, "high": rate.high} if rate else None,
        "not_ready_share": one.unready,
        "found_within_s": one.found_within_s if math.isfinite(one.found_within_s) else None,
        "suggested": one.suggested,
    }
