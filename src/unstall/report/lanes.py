"""The timeline as text: lanes of characters for a terminal, a CI log or a mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unstall import units
from unstall.model import Phase, PodTimeline, ProbeType
from unstall.report.packing import Packed, pack
from unstall.report.scale import Scale, clean, scale_for, ticks

LABEL = 12
MOST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of one alphabet. ``levels`` go from nothing to full."""

    running: str
    starting: str
    terminating: str
    waiting: str
    answered: str
    missed: str
    discarded: str
    blocked: str
    idle: str
    served: str
    held: str
    levels: str


UNICODE = Marks("█", "░", "▒", "┄", "•", "×", "?", "█", "─", "━", "┈", " ▁▂▃▄▅▆▇█")
ASCII = Marks("#", "+", "!", ".", "o", "x", "?", "#", "-", "=", ".", " .:-=+*%#")


def lanes_text(timeline: PodTimeline, width: int = 80, ascii: bool = False) -> str:
    """Draw one pod's timeline in ``width`` columns; ``ascii`` keeps to seven bits.

    Records without a valid time are left out.
    """
    timeline, _ = clean(timeline)
    marks = ASCII if ascii else UNICODE
    scale = scale_for([timeline])
    columns = max(20, width - LABEL)
    lanes = [("pod", _pod(timeline.phases, scale, columns, marks))]
    for kind in (ProbeType.STARTUP, ProbeType.LIVENESS, ProbeType.READINESS):
        if any(probe.type is kind for probe in timeline.probes):
            lanes.append((str(kind), _probes(timeline, kind, scale, columns, marks)))
    lanes.append(("event loop", _loop(timeline, scale, columns, marks)))
    packed = pack(timeline, scale.end_s / columns)
    lanes += _requests(packed, timeline, scale, columns, marks)
    lanes.append(("", _axis(scale, columns)))
    lines = [f"{label:<{LABEL}}{lane}".rstrip() for label, lane in lanes]
    drawn = "".join(lane for _, lane in lanes[:-1])
    return "\n".join([*lines, *_legend(timeline, drawn, packed.rows <= MOST_ROWS, marks, width)])


def _column(at_s: float, scale: Scale, columns: int) -> int:
    return min(columns - 1, max(0, int(at_s / scale.end_s * columns)))


def _pod(phases: Sequence[Phase], scale: Scale, columns: int, marks: Marks) -> str:
    """What took most of a column's time; where a column holds one change, what is not running is shown."""
    cell_s = scale.end_s / columns
    spent: list[dict[str, float]] = [{} for _ in range(columns)]
    for phase in phases:
        for c in range(_column(phase.from_s, scale, columns), _column(phase.to_s, scale, columns) + 1):
            overlap = min(phase.to_s, (c + 1) * cell_s) - max(phase.from_s, c * cell_s)
            if overlap > 0:
                spent[c][phase.kind] = spent[c].get(phase.kind, 0.0) + overlap
    line = ""
    for kinds in spent:
        rare = [kind for kind in ("terminating", "starting", "waiting") if kind in kinds]
        crowded = len(kinds) > 2 or (len(rare) == 1 and kinds[rare[0]] < cell_s / 20)
        if not kinds:
            line += " "
        else:
            kind = max(kinds, key=lambda k: kinds[k]) if crowded or not rare else rare[0]
            line += getattr(marks, kind, " ")
    return line


def _probes(timeline: PodTimeline, kind: ProbeType, scale: Scale, columns: int, marks: Marks) -> str:
    cells = [" "] * columns
    rank = {" ": 0, marks.discarded: 1, marks.answered: 2, marks.missed: 3}
    for probe in timeline.probes:
        if probe.type is not kind:
            continue
        mark = {"success": marks.answered, "warning": marks.answered, "failure": marks.missed}.get(
            probe.outcome, marks.discarded
        )
        c = _column(probe.ended_at, scale, columns)
        cells[c] = max(cells[c], mark, key=lambda m: rank[m])
    return "".join(cells)


def _loop(timeline: PodTimeline, scale: Scale, columns: int, marks: Marks) -> str:
    cells = [marks.idle] * columns
    written: list[tuple[int, str]] = []
    for stall in sorted(timeline.stalls, key=lambda s: s.duration_s):
        first = _column(stall.started_at, scale, columns)
        # A column is blocked when the stall covers its middle; the first always is, so that none is lost.
        last = _column(stall.started_at + stall.duration_s - scale.end_s / columns / 2, scale, columns)
        for c in range(first, max(first, last) + 1):
            cells[c] = marks.blocked
        label = f" {units.seconds(stall.duration_s)} "
        if last - first + 1 >= len(label) + 2:
            written.append((first + 1, label))
    for at, label in written:
        cells[at : at + len(label)] = label
    return "".join(cells)


def _requests(packed: Packed, timeline: PodTimeline, scale: Scale, columns: int, marks: Marks) -> list[tuple[str, str]]:
    if not packed.rows:
        return [("requests", "none")]
    if packed.rows > MOST_ROWS:
        return _density(timeline, scale, columns, marks)
    rows = [[" "] * columns for _ in range(packed.rows)]
    for bar in packed.bars:
        first, last = _column(bar.from_s, scale, columns), _column(bar.to_s, scale, columns)
        mark = marks.served if bar.status == "served" else marks.held
        for c in range(first, max(first + 1, last)):
            rows[bar.row][c] = mark
        if bar.status == "failed":
            rows[bar.row][max(first, last - 1)] = marks.missed
    labels = ["requests", f"{units.count(len(timeline.requests))} sent"]
    return [(labels[i] if i < 2 else "", "".join(row)) for i, row in enumerate(rows)]


def _density(timeline: PodTimeline, scale: Scale, columns: int, marks: Marks) -> list[tuple[str, str]]:
    """Too many for a row each: how many were in flight at most, two lines high, and where some failed."""
    changes = [0] * (columns + 1)
    failed = [" "] * columns
    for request in timeline.requests:
        first, last = (_column(at, scale, columns) for at in (request.due_at, request.answered_at))
        changes[first] += 1
        changes[last + 1] -= 1
        if request.failed:
            failed[last] = marks.missed
    flying, now = [], 0
    for c in range(columns):
        now += changes[c]
        flying.append(now)
    most = max(flying)
    steps = len(marks.levels) - 1
    levels = [-(-flight * 2 * steps // most) for flight in flying]
    high = "".join(marks.levels[max(0, level - steps)] for level in levels)
    low = "".join(marks.levels[min(steps, level)] for level in levels)
    lanes = [("requests", high), (f"{units.count(len(timeline.requests))} sent", low)]
    return [*lanes, ("failed", "".join(failed))] if "".join(failed).strip() else lanes


def _axis(scale: Scale, columns: int) -> str:
    line = ""
    for at_s, label in ticks(scale.end_s, max(2, columns // 11)):
        at = min(_column(at_s, scale, columns), columns - len(label))
        if not line or at >= len(line) + 2:
            line = line.ljust(at) + label
    return line


def _legend(timeline: PodTimeline, drawn: str, in_rows: bool, marks: Marks, width: int) -> list[str]:
    """What the characters mean, only those that were drawn, in lines of at most ``width``."""
    kinds = {phase.kind for phase in timeline.phases}
    missed = any(probe.outcome == "failure" for probe in timeline.probes)
    failed = any(request.failed for request in timeline.requests)
    cross = " or ".join(["missed"] * missed + ["failed"] * failed)
    meanings = [
        (marks.starting, "starting", "starting" in kinds),
        (marks.terminating, "told to stop", "terminating" in kinds),
        (marks.waiting, "back-off", "waiting" in kinds),
        (marks.answered, "probe answered", bool(timeline.probes)),
        (marks.missed, cross, bool(cross)),
        (marks.served, "served", in_rows),
        (marks.held, "waiting for the loop", in_rows and bool(timeline.stalls)),
    ]
    lines: list[str] = []
    for mark, meaning, used in meanings:
        if not used or mark not in drawn:
            continue
        entry = f"{mark} {meaning}"
        if lines and len(lines[-1]) + 2 + len(entry) <= width:
            lines[-1] += "  " + entry
        else:
            lines.append(" " * LABEL + entry)
    return lines
