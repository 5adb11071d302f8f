"""Is what `unstall probe` states true of a time it has not seen? Chosen on the first half of a history, judged on the second.

Each history is stationary: stalls at random, at a rate and with lengths of its own. From the first half come the
suggestion and the interval of restarts; the second half is lived by the virtual kubelet, stall by stall. Then pods die
under the same settings, and how long each stands is compared with what was stated.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from unstall import units
from unstall.kubelet import odds
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import DAY_S, Deadlock, Lognormal, RandomProcess, Scripted, Stalls
from unstall.kubelet.virtual import simulate
from unstall.model import HttpGet, ProbeSpec, ProbeType
from unstall.probe.forecast import Forecast, History, forecasts, with_liveness

HISTORIES = 200
COVERED = 0.9
DEATHS = 20
"""Pods that die under each setting."""


@dataclass(frozen=True, slots=True)
class Case:
    """One pod's history of stalls over so many days, and the probe it has."""

    number: int
    spec: PodSpec
    stalls: tuple[tuple[float, float], ...]
    days: float

    def half(self, second: bool) -> Stalls:
        """The stalls of the first or the second half, on its own clock."""
        middle_s = self.days * DAY_S / 2
        return [(start - middle_s * second, length) for start, length in self.stalls if (start >= middle_s) is second]


@dataclass(frozen=True, slots=True)
class Judged:
    """One setting: the restarts stated for the second half, those that came, the dead pods found. ``late_s`` is by how
    much the slowest find exceeded the time stated; negative where none did."""

    label: str
    suggested: bool
    low: float
    high: float
    seen: int
    found: int
    late_s: float

    @property
    def covered(self) -> bool:
        """Whether the restarts seen lie in the interval stated."""
        return self.low <= self.seen <= self.high


def draw(number: int) -> Case:
    """The history of one number."""
    random = Random(number)
    probe = ProbeSpec(
        ProbeType.LIVENESS,
        HttpGet(8000, "/livez"),
        period_s=random.choice((5, 10, 15, 20)),
        timeout_s=random.choice((1, 1, 2, 3)),
        failure_threshold=random.choice((2, 3, 3, 5)),
    )
    days = random.choice((0.5, 1.0, 2.0, 7.0))
    lengths = Lognormal(10 ** random.uniform(-0.3, 1.3), random.uniform(0.3, 1.2), longest_s=600.0)
    stalls = RandomProcess(10 ** random.uniform(0.0, 2.3), lengths).history(random, days * DAY_S)
    return Case(number, PodSpec(probes=(probe,)), tuple(stalls), days)


def histories(count: int = HISTORIES) -> Iterator[Case]:
    """The first so many that have a stall in their first half: from none, nothing is stated."""
    number = 0
    while count:
        case = draw(number)
        number += 1
        if case.half(second=False):
            count -= 1
            yield case


def judge(case: Case) -> list[Judged]:
    """The present setting and the suggested one."""
    half_s = case.days * DAY_S / 2
    history = History(tuple(length for _, length in case.half(second=False)), half_s)
    table = forecasts(case.spec, history, case.number)
    return [_judge(case, row, half_s) for row in table if row.label.startswith("now") or row.suggested]


def _judge(case: Case, row: Forecast, half_s: float) -> Judged:
    assert row.probe is not None and row.restarts_per_day is not None
    spec, second = with_liveness(case.spec, row.probe), tuple(case.half(second=True))
    seen = simulate(spec, Scripted(second), pods=1, duration_s=half_s, seed=case.number).restarts
    dead = simulate(spec, Deadlock(120.0, 3600.0), pods=DEATHS, duration_s=3 * 3600.0, seed=case.number)
    low, high = row.restarts_per_day.low or 0.0, row.restarts_per_day.high or 0.0
    late_s = max(dead.found_after_s, default=0.0) - odds.found_within_s(spec)
    days = half_s / DAY_S
    return Judged(row.label, row.suggested, low * days, high * days, seen, len(dead.found_after_s), late_s)


def main() -> int:
    """Print the figures as a table; 1 where what was stated did not hold."""
    began = time.process_time()
    judged = [one for case in histories() for one in judge(case)]
    print(f"{HISTORIES} histories, {time.process_time() - began:.0f} s of CPU")
    print(
        "| setting | histories | restarts in the second half | inside the interval stated | dead pods | found in time |"
    )
    print("|---|---|---|---|---|---|")
    holds = True
    for name, rows in (
        ("as it was", [one for one in judged if not one.suggested]),
        ("as suggested", [one for one in judged if one.suggested]),
    ):
        inside, dead = sum(one.covered for one in rows), DEATHS * len(rows)
        found = sum(one.found for one in rows if one.late_s <= 0)
        holds &= inside >= COVERED * len(rows) and found == dead
        seen = units.count(sum(one.seen for one in rows))
        print(f"| {name} | {len(rows)} | {seen} | {inside} | {units.count(dead)} | {units.count(found)} |")
    print(f"The slowest find came {-max(one.late_s for one in judged):.3f} s before the time stated.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
