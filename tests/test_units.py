"""Every number as a person says it."""

from __future__ import annotations

import doctest
import math

import pytest

from unstall import units
from unstall.model import Measure


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"), (0.000004, "4 us"), (0.9996, "1.00 s"), (9.994, "9.99 s"), (9.996, "10.0 s"),
        (99.96, "1 min 40 s"), (3600, "1 h"), (11100, "3 h 5 min"), (-2.0, "-2.00 s"),
        (math.nan, "not a number"), (math.inf, "no end"),
    ],
)  # fmt: skip
def test_durations(value: float, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(None, "s"), "-"), (Measure(2.0, "count"), "2"), (Measure(1.5, "count"), "1.5"),
        (Measure(130, "of", total=3600), "130 of 3,600"), (Measure(147.2, "ratio"), "147 x"),
        (Measure(0.4, "probability"), "0.40"),
    ],
)  # fmt: skip
def test_measures(measure: Measure, text: str) -> None:
    assert units.measure(measure) == text
