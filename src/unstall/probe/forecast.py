"""What settings of the liveness probe would cost: restarts, time not ready, time to find a dead pod."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from unstall.kubelet import odds
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import DAY_S, Resampled, poisson
from unstall.kubelet.virtual import simulate
from unstall.model import Measure, ProbeSpec, ProbeType

HEADROOM = 1.2
"""How much longer than the longest stall recorded a block may be before the suggestion lets it restart the pod."""
PODS = 200
"""Pods simulated for a day to learn the time not ready."""
TIMEOUTS_S = (2, 3, 5, 10)
FAILURES = (3, 4, 6, 8, 10, 15, 20, 30)


@dataclass(frozen=True, slots=True)
class History:
    """Stalls as recorded, in the order in which they came: their lengths, and for how long one pod each was watched, all pods together.
    ``watched_s`` None: nobody knows, so there are odds per stall and no rates."""

    lengths_s: tuple[float, ...]
    watched_s: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one setting costs. ``restarts_per_day`` is for one pod, with the interval in which 95 % of periods as long
    as the recording should fall; ``unready`` the share of time; None where no rate is known."""

    label: str
    probe: ProbeSpec | None
    per_stall: float
    restarts_per_day: Measure | None
    unready: float | None
    found_within_s: float
    suggested: bool = False


def with_liveness(spec: PodSpec, probe: ProbeSpec) -> PodSpec:
    """The container with another liveness probe."""
    others = tuple(one for one in spec.probes if one.type is not ProbeType.LIVENESS)
    return replace(spec, probes=(*others, probe))


def suggest(spec: PodSpec, history: History) -> ProbeSpec | None:
    """The liveness probe that finds a dead pod soonest among those that survive the longest recorded stall with
    `HEADROOM`; None where the present one survives all of them, or no liveness probe asks the loop."""
    now = spec.probe(ProbeType.LIVENESS)
    if now is None or not odds.asks_the_loop(now) or not history.lengths_s:
        return None
    if odds.longest_survived_s(spec) >= max(history.lengths_s):
        return None
    needed_s = max(history.lengths_s) * HEADROOM
    fitting = [one for one in _alternatives(now) if odds.longest_survived_s(with_liveness(spec, one)) >= needed_s]
    return min(fitting, key=lambda one: (odds.found_within_s(with_liveness(spec, one)), one.timeout_s), default=None)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the first half of a record would have chosen, and what that costs per stall in the second half."""

    probe: ProbeSpec | None
    per_stall: float


ENOUGH = 8
"""Stalls from which on a record is worth being halved."""


def held_out(spec: PodSpec, history: History) -> HeldOut | None:
    """Choose on the first half of the stalls, judge on the second; None where there are too few, or no block of either
    half would restart the container anyway."""
    middle = len(history.lengths_s) // 2
    first, second = history.lengths_s[:middle], history.lengths_s[middle:]
    if len(history.lengths_s) < ENOUGH or odds.longest_survived_s(spec) >= max(history.lengths_s):
        return None
    chosen = suggest(spec, History(first))
    after = spec if chosen is None else with_liveness(spec, chosen)
    return HeldOut(chosen, odds.expected_restarts(after, second) / len(second))


def _alternatives(now: ProbeSpec) -> Iterator[ProbeSpec]:
    # The period stays: it is what the pod pays for being asked.
    for timeout_s in sorted({now.timeout_s, *(t for t in TIMEOUTS_S if now.timeout_s <= t <= now.period_s)}):
        for failures in sorted({now.failure_threshold, *(f for f in FAILURES if f >= now.failure_threshold)}):
            yield replace(now, timeout_s=timeout_s, failure_threshold=failures)


def forecasts(spec: PodSpec, history: History, seed: int = 0) -> list[Forecast]:
    """The table: now, a longer timeout, the suggestion, and no stalls at all."""
    now = spec.probe(ProbeType.LIVENESS)
    if now is None:
        return []
    chosen = suggest(spec, history)
    rows = [("now: " + label(now), now)]
    longer = replace(now, timeout_s=min(5, now.period_s))
    if longer.timeout_s > now.timeout_s and longer != chosen:
        rows.append((label(longer), longer))
    if chosen is not None:
        rows.append((label(chosen), chosen))
    table = [
        replace(_forecast(text, with_liveness(spec, probe), history, seed), suggested=probe == chosen)
        for text, probe in rows
    ]
    free = replace(history, lengths_s=())
    return [*table, _forecast("after unstall fix", spec, free, seed)]


def label(probe: ProbeSpec) -> str:
    """A setting in a few words: ``10 s, timeout 1 s, 3 failures``."""
    return f"{probe.period_s} s, timeout {probe.timeout_s} s, {probe.failure_threshold} failures"


def _forecast(text: str, spec: PodSpec, history: History, seed: int) -> Forecast:
    expected = odds.expected_restarts(spec, history.lengths_s)
    per_stall = expected / len(history.lengths_s) if history.lengths_s else 0.0
    rate, unready = None, None
    if history.watched_s:
        low, high = interval(expected, seed) if history.lengths_s else (0.0, 0.0)
        days = history.watched_s / DAY_S
        rate = Measure(expected / days, "count", low=low / days, high=high / days)
        unready = _unready(spec, history, seed)
    return Forecast(text, spec.probe(ProbeType.LIVENESS), per_stall, rate, unready, odds.found_within_s(spec))


def _unready(spec: PodSpec, history: History, seed: int) -> float:
    assert history.watched_s
    if not history.lengths_s:
        return 0.0
    per_day = len(history.lengths_s) / history.watched_s * DAY_S
    return simulate(spec, Resampled(history.lengths_s, per_day), PODS, seed=seed).unready_share


def interval(expected: float, seed: int = 0, draws: int = 4000) -> tuple[float, float]:
    """Between how many restarts 95 % of equally long periods should have, if so many are to be expected of one.

    The recording is itself one draw: its rate is uncertain (a gamma distribution around it), and the next period
    scatters again (Poisson).
    """
    random = Random(seed)
    counts = sorted(poisson(random, random.gammavariate(expected + 0.5, 1.0)) for _ in range(draws))
    return float(counts[int(draws * 0.025)]), float(counts[math.ceil(draws * 0.975) - 1])
