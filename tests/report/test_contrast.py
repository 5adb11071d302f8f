"""Every colour of the page against its ground, in both themes, by WCAG 2's formula (level AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = files("unstall.report").joinpath("page.css").read_text(encoding="utf-8")
THEMES = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", CSS, re.DOTALL), strict=True))

TEXT = [
    ("ink", "bg"),
    ("muted", "bg"),
    ("ink", "soft"),
    ("muted", "soft"),
    ("link", "bg"),
    ("good", "soft"),
    ("bad", "bg"),
    ("bad", "soft"),
    ("on-stall", "stall"),
    ("added-ink", "added"),
    ("removed-ink", "removed"),
    ("ink", "hit"),
    ("bg", "ink"),
]
SHAPES = ["run", "start", "stop", "idle", "stall", "wait", "served", "failed"]


def luminance(colour: str) -> float:
    """Relative luminance of ``#rgb`` or ``#rrggbb``."""
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black on white)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours(theme: str) -> dict[str, str]:
    """The theme's colours by name."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", THEMES[theme]))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_can_be_read(theme: str, text: str, ground: str) -> None:
    known = colours(theme)
    assert contrast(known[text], known[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_stand_out_from_the_ground(theme: str, shape: str) -> None:
    known = colours(theme)
    assert contrast(known[shape], known["bg"]) >= 3


def test_black_on_white_is_21_to_1() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
