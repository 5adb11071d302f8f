"""Pod timelines as SVG swim lanes on one time axis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from unstall import units
from unstall.model import PodTimeline, ProbeRecord, ProbeType, Stall
from unstall.report import strokes, words
from unstall.report.packing import pack
from unstall.report.scale import Scale, clean, scale_for, ticks
from unstall.report.strokes import WIDTH, X0, bars_d, path, stretched, text, ticks_d, x_of

LABELS_X = X0 - 10
TOTAL_WIDTH = X0 + WIDTH + 16
TALLEST_REQUESTS = 168.0
MOST_LABELS = 500
LANE_OF = {
    ProbeType.STARTUP: "startup",
    ProbeType.LIVENESS: "liveness",
    ProbeType.READINESS: "readiness",
}


@dataclass(frozen=True, slots=True)
class Strip:
    """One arm to draw: ``about`` is the muted half of its heading."""

    name: str
    timeline: PodTimeline
    about: str = ""


def timeline_svg(strips: Sequence[Strip], ident: str = "timeline") -> str:
    """Draw arms above each other on one time axis.

    ``ident`` makes the element ids of several drawings on one page differ. Records without a valid time are
    not drawn; the headings say how many.
    """
    drawn = [(strip, *clean(strip.timeline)) for strip in strips]
    scale = scale_for(timeline for _, timeline, _ in drawn)
    parts: list[str] = []
    facts: list[dict[str, object]] = []
    y = 4.0
    for strip, timeline, dropped in drawn:
        top = y
        part, y = _strip(strip, timeline, dropped, scale, y, f"{ident}-c")
        parts.append(part)
        facts.append({"y": [top, y], **_facts(timeline)})
    described = " ".join(words.describe(strip.name, timeline) for strip, timeline, _ in drawn)
    names = ", ".join(strip.name for strip in strips)
    body = "".join(parts)
    info = json.dumps({"end": scale.end_s, "unit": scale.unit_s, "arms": facts}, separators=(",", ":"))
    return (
        f'<svg class="timeline" id="{ident}" viewBox="0 0 {TOTAL_WIDTH} {y + 26:.0f}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d" data-i="{escape(info)}">'
        f'<title id="{ident}-t">{escape(words.visible(f"Timeline of {names}"))}</title>'
        f'<desc id="{ident}-d">{escape(words.visible(described))}</desc>'
        f'<clipPath id="{ident}-c"><rect x="{X0 - 5}" y="0" width="{WIDTH + 10}" height="{y + 4:.0f}"/></clipPath>'
        f"{_axis(scale, y)}{body}</svg>"
    )


def _axis(scale: Scale, bottom: float) -> str:
    marks = ticks(scale.end_s)
    lines = "".join(f"M{x_of(at, scale):.1f} 8V{bottom:.0f}" for at, _ in marks)
    labels = "".join(text(round(x_of(at, scale), 1), bottom + 17, words_) for at, words_ in marks)
    return f'<g class="axis"><path d="{lines}"/>{labels}</g>'


def _strip(strip: Strip, timeline: PodTimeline, dropped: int, scale: Scale, y: float, clip: str) -> tuple[str, float]:
    """One arm's heading and lanes from ``y`` down; returns the markup and where it ends."""
    heading = _heading(strip, dropped, y + 16)
    named: list[str] = []
    lanes: list[str] = []
    y += 28
    outages = outages_of(timeline)
    if outages:
        lanes.append(_outage_labels(outages, timeline.restarts, scale, y + 9))
        y += 14
    for label, body, height in _lanes(timeline, scale, y):
        named.append(text(LABELS_X, y + min(height, 16) / 2 + 4, label, "lane"))
        if label == "requests":
            named.append(_request_count(timeline, y + 24))
        lanes.append(body)
        y += height
    inside = f'<g clip-path="url(#{clip})">' + "".join(lanes) + "</g>"
    return heading + "".join(named) + inside, y + 12


def _heading(strip: Strip, dropped: int, y: float) -> str:
    about = strip.about
    if dropped:
        records = units.plural(dropped, "record")
        about = f"{about}  ({records} without a valid time not drawn)".strip()
    name = words.shorten(words.visible(strip.name), 60)
    whole = f"<title>{escape(words.visible(strip.name))}</title>" if name != strip.name else ""
    room = max(10, 150 - len(name))
    muted = f'<tspan class="muted" dx="10">{escape(words.shorten(words.visible(about), room))}</tspan>' if about else ""
    return f'<text x="0" y="{y:g}" class="arm">{whole}{escape(name)}{muted}</text>'


def _request_count(timeline: PodTimeline, y: float) -> str:
    counted = units.count(len(timeline.requests))
    return text(LABELS_X, y, f"{counted} in {units.seconds(timeline.duration_s)}", "lane muted")


def _lanes(timeline: PodTimeline, scale: Scale, y: float) -> list[tuple[str, str, float]]:
    """Each lane's label, markup and height, from ``y`` down."""
    lanes = [("pod", _pod(timeline, scale, y), 20.0)]
    y += 20
    for kind, label in LANE_OF.items():
        probes = [probe for probe in timeline.probes if probe.type is kind]
        if probes:
            lanes.append((label, _probes(probes, scale, y + 8), 17.0))
            y += 17
    lanes.append(("event loop", _loop(timeline, scale, y), 23.0))
    y += 23
    body, height = _requests(timeline, scale, y)
    lanes.append(("requests", body, max(height, 28.0)))
    return lanes


def _pod(timeline: PodTimeline, scale: Scale, y: float) -> str:
    middle = y + 8
    kinds: dict[str, list[strokes.Span]] = {}
    for phase in timeline.phases:
        kinds.setdefault(phase.kind, []).append((phase.from_s, phase.to_s, 0))
    inner = "".join(
        path(f"pod {kind}", bars_d(kinds[kind], scale))
        for kind in ("waiting", "starting", "running", "terminating")
        if kind in kinds
    )
    # A phase thinner than a pixel still happened: a hairline says so.
    thin = "".join(
        path(f"hair {kind}", ticks_d(kinds[kind], scale)) for kind in ("starting", "terminating") if kind in kinds
    )
    hairlines = stretched(scale, thin, middle - 5, 10)
    unready = stretched(scale, path("unready", bars_d([(a, b, 0) for a, b in timeline.unready], scale)), middle + 7.5)
    return stretched(scale, inner, middle) + hairlines + unready


def _probes(probes: Sequence[ProbeRecord], scale: Scale, y: float) -> str:
    ok = [p.ended_at for p in probes if p.outcome in ("success", "warning")]
    odd = [p.ended_at for p in probes if p.outcome not in ("success", "warning", "failure")]
    missed = [p for p in probes if p.outcome == "failure"]
    waits = path("asked", bars_d([(p.started_at, p.ended_at, 0) for p in missed], scale))
    dots = path("dot", strokes.dots_d(ok, scale)) + path("dot odd", strokes.dots_d(odd, scale))
    arm = min(3.2, max(1.2, WIDTH / (2.5 * len(missed) + 1)))
    # While a container starts, an unanswered startup probe is the rule and kills nobody.
    early = " early" if probes[0].type is ProbeType.STARTUP else ""
    crosses = path(f"cross{early}", strokes.crosses_d([(p.ended_at, y) for p in missed], scale, round(arm, 1)))
    return stretched(scale, waits + dots, y) + crosses


def _loop(timeline: PodTimeline, scale: Scale, y: float) -> str:
    stalls = timeline.stalls
    spans = [(s.started_at, s.started_at + s.duration_s, 0) for s in stalls]
    inner = path("track", bars_d([(0.0, timeline.duration_s, 0)], scale)) + path("stall", bars_d(spans, scale))
    hairlines = stretched(scale, path("hair wait", ticks_d(spans, scale)), y + 1, 15)
    gap = path("gap", "".join(f"M{scale.units(at)} 0v1" for at in _seams(stalls, scale)))
    labels = []
    for stall in sorted(stalls, key=lambda s: -s.duration_s)[:MOST_LABELS]:
        words_ = units.seconds(stall.duration_s)
        room = WIDTH * stall.duration_s / scale.end_s
        span = f' data-a="{stall.started_at:.3f}" data-b="{stall.started_at + stall.duration_s:.3f}"'
        hidden = "" if room >= strokes.width_of(words_) + 10 else ' visibility="hidden"'
        labels.append(text(round(x_of(stall.started_at, scale) + 6, 1), y + 12.5, words_, "in", span + hidden))
    return stretched(scale, inner, y + 8.5) + hairlines + stretched(scale, gap, y + 1, 15) + "".join(labels)


def _seams(stalls: Sequence[Stall], scale: Scale) -> list[float]:
    """Where a stall begins right after another: without a seam the two would look like one."""
    ordered = sorted(stalls, key=lambda s: s.started_at)
    pixel_s = scale.end_s / WIDTH
    return [
        after.started_at
        for before, after in pairwise(ordered)
        if after.started_at - before.started_at - before.duration_s < pixel_s and after.duration_s > 4 * pixel_s
    ]


def _requests(timeline: PodTimeline, scale: Scale, y: float) -> tuple[str, float]:
    finest_s = 1.2 * scale.end_s / WIDTH
    packed = pack(timeline, finest_s)
    if not packed.rows:
        return text(X0 + 6, y + 13, "no requests", "muted"), 20.0
    pitch = min(8.0, TALLEST_REQUESTS / packed.rows)
    dense = " dense" if pitch < 2.0 else " tight" if pitch < 3.5 else ""
    # Rows of about a pixel would fade into the ground; they are drawn a little thicker than they are apart.
    thick = max(1.05, 1.6 / pitch) if dense == " dense" else 0.0
    inner, hairlines = "", ""
    for status in ("served", "waiting", "failed"):
        spans = [(bar.from_s, bar.to_s, bar.row) for bar in packed.bars if bar.status == status]
        drawn = path(f"req {status}{dense}", bars_d(spans, scale))
        inner += drawn.replace("<path", f'<path style="stroke-width:{thick:.2f}"', 1) if thick else drawn
        hairlines += path(f"hair {status}", ticks_d(spans, scale))
    ends = [(bar.to_s, y + (bar.row + 0.5) * pitch) for bar in packed.bars if bar.status == "failed"]
    crosses = path("cross", strokes.crosses_d(ends[:500], scale, 2.4)) if pitch >= 5 else ""
    body = stretched(scale, inner, y + pitch / 2, pitch) + stretched(scale, hairlines, y, pitch) + crosses
    return body, packed.rows * pitch


@dataclass(frozen=True, slots=True)
class Outage:
    """The end of a container: ``ran`` where it had run, ``to_s`` when another one did (None: not before the end)."""

    from_s: float
    to_s: float | None
    ran: bool

    def words(self) -> str:
        """What is written above it."""
        if not self.ran:
            return "start failed"
        return (
            f"restart, runs again after {units.seconds(self.to_s - self.from_s)}"
            if self.to_s
            else "killed, not running again"
        )


def outages_of(timeline: PodTimeline) -> list[Outage]:
    """Every time a container that had started was followed by another, or was still ending at the end."""
    stops: dict[int, float] = {}
    runs: dict[int, float] = {}
    for phase in sorted(timeline.phases, key=lambda p: p.from_s):
        if phase.kind == "terminating":
            stops.setdefault(phase.instance, phase.from_s)
        elif phase.kind in ("running", "starting"):
            if phase.kind == "running":
                runs.setdefault(phase.instance, phase.from_s)
            stops.setdefault(phase.instance - 1, phase.from_s) if phase.instance else None
    return [
        Outage(at, next((runs[i] for i in sorted(runs) if i > instance), None), instance in runs)
        for instance, at in sorted(stops.items())
    ]


def _outage_labels(outages: Sequence[Outage], restarts: int, scale: Scale, y: float) -> str:
    """Labels that do not overlap: where there is no room for all, one says how many there are."""
    crowded = sum(strokes.width_of(outage.words()) + 12 for outage in outages) > WIDTH
    parts, free_from = [], X0 - 4.0
    if crowded:
        parts.append(text(X0, y, f"{units.plural(restarts, 'restart')}; zoom in for each", "ev all"))
    for outage in outages[:MOST_LABELS]:
        label = outage.words()
        wide = strokes.width_of(label)
        x = max(X0, min(x_of(outage.from_s, scale), X0 + WIDTH - wide))
        fits = x >= free_from and not crowded
        if fits:
            free_from = x + wide + 12
        hidden = "" if fits else ' visibility="hidden"'
        parts.append(text(round(x, 1), y, label, "ev", f' data-a="{outage.from_s:.3f}"{hidden}'))
    return "".join(parts)


def _facts(timeline: PodTimeline) -> dict[str, object]:
    """What the pointer can name: stalls as start, end, words; phases as start, end, kind."""
    longest = sorted(timeline.stalls, key=lambda s: -s.duration_s)[:500]
    labels: dict[str, int] = {}
    stalls = []
    for stall in sorted(longest, key=lambda s: s.started_at):
        where = words.shorten(f"{words.guilty_route(stall)}, {words.place(stall.site)}".strip(", "), 96)
        index = labels.setdefault(words.visible(where), len(labels))
        stalls.append([round(stall.started_at, 3), round(stall.started_at + stall.duration_s, 3), index])
    phases = [[round(p.from_s, 3), round(p.to_s, 3), p.kind] for p in timeline.phases[:2000]]
    return {"stalls": stalls, "where": list(labels), "phases": phases}
