"""Path data: every lane and status is one `<path>`, so that 20,000 requests are a handful of elements.

Paths of the time axis are written in whole units of `Scale` and stretched by a transform, so that zooming
changes one attribute. Moves are relative because small numbers are short.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from unstall.report.scale import Scale

X0, WIDTH = 128, 896
"""Where the time axis begins and how wide it is, in the drawing's pixels."""

Span = tuple[float, float, int]
"""From, to (seconds) and row."""


def x_of(at_s: float, scale: Scale) -> float:
    """The horizontal pixel of a time."""
    return X0 + WIDTH * min(max(at_s, 0.0), scale.end_s) / scale.end_s


def bars_d(spans: Iterable[Span], scale: Scale) -> str:
    """Horizontal strokes; the stroke's width is the bar's height."""
    parts, x, y = [], 0, 0
    for from_s, to_s, row in spans:
        start, length = scale.units(from_s), scale.length(from_s, to_s)
        parts.append(f"m{_pair(start - x, row - y)}h{length}")
        x, y = start + length, row
    return "".join(parts)


def ticks_d(spans: Iterable[Span], scale: Scale) -> str:
    """Upright hairlines for spans thinner than a pixel, one per pixel and row."""
    parts, x, y = [], 0, 0
    seen: set[tuple[int, int]] = set()
    pixel_s = scale.end_s / WIDTH
    for from_s, to_s, row in spans:
        where = (int(from_s / pixel_s), row)
        if to_s - from_s >= pixel_s or where in seen:
            continue
        seen.add(where)
        at = scale.units(from_s)
        parts.append(f"m{_pair(at - x, row - y)}v1")
        x, y = at, row + 1
    return "".join(parts)


def dots_d(times: Iterable[float], scale: Scale) -> str:
    """Points: strokes of no length with round ends."""
    parts, x = [], 0
    for at_s in times:
        at = scale.units(at_s)
        parts.append(f"m{_pair(at - x, 0)}h0")
        x = at
    return "".join(parts)


def crosses_d(times: Iterable[tuple[float, float]], scale: Scale, arm: float = 3.2) -> str:
    """Crosses at (time, y), in pixels: their arms must not be stretched with the axis.

    A thousandth of a pixel is not seen until somebody zooms a day to its minutes.
    """
    a, b = f"{arm:g}", f"{2 * arm:g}"
    return "".join(f"M{x_of(at, scale):.3f} {y:g}m-{a}-{a}l{b} {b}m0-{b}l-{b} {b}" for at, y in times)


def _pair(x: int, y: int) -> str:
    return f"{x}{y}" if y < 0 else f"{x} {y}"


def path(css: str, d: str) -> str:
    """One path, or nothing for no data."""
    return f'<path class="{css}" d="{d}"/>' if d else ""


def stretched(scale: Scale, inner: str, y: float = 0.0, pitch: float = 1.0) -> str:
    """Put path units onto the axis. The page's script finds `g.t` and changes its transform to zoom."""
    if not inner:
        return ""
    k = WIDTH * scale.unit_s / scale.end_s
    rows = inner if pitch == 1 and y == 0 else f'<g transform="translate(0 {y:g}) scale(1 {pitch:g})">{inner}</g>'
    return f'<g class="t" transform="translate({X0} 0) scale({k:.9g} 1)">{rows}</g>'


def text(x: float, y: float, words: str, css: str = "", extra: str = "") -> str:
    """Escaped text."""
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}{extra}>{escape(words)}</text>'


def width_of(words: str, size: float = 11.0) -> float:
    """About how wide a text is in a system font, on the generous side."""
    return len(words) * size * 0.58
