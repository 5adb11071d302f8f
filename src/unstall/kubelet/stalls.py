"""Where the stalls of a virtual pod come from: a recording, a random process or a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

DAY_S = 86400.0
Stalls = list[tuple[float, float]]
"""Start and length of each stall in seconds, by start."""


class StallSource(Protocol):
    """A history of stalls for one pod: by the same random numbers the same history."""

    def history(self, random: Random, duration_s: float) -> Stalls:
        """Stalls of one pod in so many seconds, by start."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """The same stalls for every pod: pairs of start and length in seconds."""

    stalls: tuple[tuple[float, float], ...]

    def history(self, random: Random, duration_s: float) -> Stalls:
        """See `StallSource`."""
        return sorted(stall for stall in self.stalls if stall[0] < duration_s)


@dataclass(frozen=True, slots=True)
class RandomProcess:
    """Stalls at random times, ``per_day`` on average; ``length_s`` draws a length in seconds."""

    per_day: float
    length_s: Callable[[Random], float]
    at_least: int = 0

    def history(self, random: Random, duration_s: float) -> Stalls:
        """See `StallSource`."""
        starts = moments(random, self.per_day, duration_s, self.at_least)
        return [(start, self.length_s(random)) for start in starts]


@dataclass(frozen=True, slots=True)
class Resampled:
    """Every pod its own history: random times, lengths drawn from recorded ones.

    ``per_day`` is the average, ``at_least`` the number that a pod has in any case (in the whole run).
    """

    lengths_s: tuple[float, ...]
    per_day: float
    at_least: int = 0

    def history(self, random: Random, duration_s: float) -> Stalls:
        """See `StallSource`."""
        starts = moments(random, self.per_day, duration_s, self.at_least)
        return list(zip(starts, random.choices(self.lengths_s, k=len(starts)), strict=True)) if starts else []


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Once in its life, at a random time between ``after_s`` and ``before_s``, the pod's loop stops for ever."""

    after_s: float
    before_s: float

    def history(self, random: Random, duration_s: float) -> Stalls:
        """See `StallSource`."""
        return [(self.after_s + random.random() * (self.before_s - self.after_s), math.inf)]


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lengths around a median with a long tail, none above ``longest_s``."""

    median_s: float
    sigma: float = 1.0
    longest_s: float = math.inf

    def __call__(self, random: Random) -> float:
        return min(self.longest_s, random.lognormvariate(math.log(self.median_s), self.sigma))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Lengths without memory."""

    mean_s: float

    def __call__(self, random: Random) -> float:
        return random.expovariate(1 / self.mean_s)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every stall the same."""

    length_s: float

    def __call__(self, random: Random) -> float:
        return self.length_s


def moments(random: Random, per_day: float, duration_s: float, at_least: int = 0) -> list[float]:
    """Times of a Poisson process, sorted; filled up where chance gave fewer than ``at_least``."""
    count = max(poisson(random, per_day * duration_s / DAY_S), at_least)
    return sorted([random.random() * duration_s for _ in range(count)])


def poisson(random: Random, mean: float) -> int:
    """A Poisson draw."""
    if mean > 100:  # close enough to the normal distribution
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def apart(stalls: Sequence[tuple[float, float]], gap_s: float) -> tuple[list[float], list[float]]:
    """Starts and ends, stalls closer than ``gap_s`` taken as one: a loop stalls once at a time."""
    starts: list[float] = []
    ends: list[float] = []
    free_at = -math.inf
    for start, length_s in stalls:
        if start < free_at + gap_s:
            free_at = ends[-1] = max(free_at, start) + length_s
        else:
            starts.append(start)
            free_at = start + length_s
            ends.append(free_at)
    return starts, ends
