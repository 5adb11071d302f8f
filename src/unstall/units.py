"""Numbers as a person says them: every figure that is printed comes from here."""

from __future__ import annotations

import math

from unstall.model import Measure


def seconds(value: float) -> str:
    """A duration or a time: ``38 ms``, ``6.41 s``, ``41.0 s``, ``2 min 10 s``, ``3 h 5 min``.

    >>> seconds(0.038), seconds(6.409), seconds(41), seconds(130)
    ('38 ms', '6.41 s', '41.0 s', '2 min 10 s')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "no end"
    if value < 0:
        return "-" + seconds(-value)
    if value < 0.9995:
        return f"{value * 1000:,.0f} ms" if value >= 0.00095 or value == 0 else f"{value * 1e6:,.0f} us"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def moment(value: float) -> str:
    """A time on a trial's clock, tenths of a second: ``18.0 s``.

    >>> moment(18)
    '18.0 s'
    """
    return f"{value:,.1f} s" if math.isfinite(value) else seconds(value)


def tick(value: float, step: float) -> str:
    """A label on a time axis whose labels are ``step`` apart: whole numbers, the largest unit that fits.

    >>> tick(30, 10), tick(0.2, 0.2), tick(1.5, 0.5), tick(90, 30), tick(7200, 3600)
    ('30 s', '200 ms', '1.5 s', '1 min 30 s', '2 h')
    """
    if step < 1:
        digits = max(0, -math.floor(math.log10(step)))
        in_s = round(value, digits)
        return f"{in_s:g} s" if in_s >= 1 or in_s == 0 else f"{round(value * 1000, max(0, digits - 3)):g} ms"
    whole = round(value)
    if whole < 60 or (whole < 120 and step < 10):
        return f"{whole} s"
    parts = ((whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s"))
    return " ".join(f"{number:,} {unit}" for number, unit in parts if number)


def count(value: float) -> str:
    """A count with thousands separators; medians of counts keep one decimal.

    >>> count(3600), count(1.5)
    ('3,600', '1.5')
    """
    if not math.isfinite(value):
        return seconds(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """A count and its noun.

    >>> plural(1, "restart"), plural(2, "missed probe")
    ('1 restart', '2 missed probes')
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def measure(m: Measure) -> str:
    """A measure with its unit; ``-`` where nothing was measured.

    >>> measure(Measure(130, "of", total=3600)), measure(Measure(0.4, "probability"))
    ('130 of 3,600', '0.40')
    """
    if m.value is None:
        return "-"
    if not math.isfinite(m.value):
        return seconds(m.value)
    match m.unit:
        case "s":
            return seconds(m.value)
        case "of":
            return f"{count(m.value)} of {count(m.total or 0)}"
        case "ratio":
            return f"{m.value:,.0f} x" if m.value >= 10 else f"{m.value:.1f} x"
        case "probability":
            return f"{m.value:.2f}"
        case _:
            return count(m.value)


def interval(m: Measure) -> str:
    """The 95 % interval of a measure in brackets, empty where there is none.

    >>> interval(Measure(3.2, "ratio", low=2.9, high=3.4))
    '(2.9 x to 3.4 x)'
    """
    if m.low is None or m.high is None:
        return ""
    return f"({measure(Measure(m.low, m.unit))} to {measure(Measure(m.high, m.unit))})"
