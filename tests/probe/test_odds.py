"""The closed form against the measured table, against the simulated kubelet, and the suggestion against the future."""

from __future__ import annotations

import math
from random import Random

import pytest

from unstall.kubelet import odds
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import DAY_S, Fixed, Lognormal, RandomProcess, Scripted
from unstall.kubelet.virtual import simulate
from unstall.model import Exec, HttpGet, ProbeSpec, ProbeType, TcpSocket
from unstall.probe.forecast import HEADROOM, History, forecasts, interval, suggest, with_liveness


def spec(period_s: int = 10, timeout_s: int = 1, failures: int = 3) -> PodSpec:
    return PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, HttpGet(8000), period_s, timeout_s, failures),))


@pytest.mark.parametrize(
    ("period_s", "block_s", "expected"), [(10, 15.0, 0.0), (5, 15.0, 0.8), (10, 25.0, 0.4), (10, 40.0, 1.0)]
)
def test_the_closed_form_gives_what_was_measured_on_a_cluster(period_s: int, block_s: float, expected: float) -> None:
    assert odds.restart_probability(spec(period_s), block_s) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("period_s", "timeout_s", "failures", "block_s"),
    [(10, 1, 3, 25.0), (5, 1, 2, 9.0), (10, 5, 3, 29.0), (2, 1, 5, 10.2), (3, 5, 2, 11.5)],
)
def test_the_closed_form_agrees_with_the_simulated_kubelet(
    period_s: int, timeout_s: int, failures: int, block_s: float
) -> None:
    one = spec(period_s, timeout_s, failures)
    expected = odds.restart_probability(one, block_s)
    # Probes that run back to back are lived one by one: fewer pods, more blocks.
    pods, per_day = (60, 24.0) if timeout_s <= period_s else (2, 200.0)
    toll = simulate(one, RandomProcess(per_day, Fixed(block_s)), pods=pods, seed=3)
    seen = toll.restarts / toll.stalls
    # Blocks that run into each other and the start after a restart move it by a little.
    slack = 3.5 * math.sqrt(expected * (1 - expected) / toll.stalls) + 0.03
    assert 0.05 < expected < 0.95
    assert seen == pytest.approx(expected, abs=slack)


@pytest.mark.parametrize(("timeout_s", "failures"), [(1, 3), (5, 3), (5, 6), (1, 1)])
def test_a_dead_pod_is_found_within_the_stated_time(timeout_s: int, failures: int) -> None:
    one = spec(10, timeout_s, failures)
    within_s = odds.found_within_s(one)
    random = Random(5)
    for seed in range(40):
        dead = Scripted(((100.0 + random.random() * 50, 5000.0),))
        toll = simulate(one, dead, pods=1, duration_s=600.0, seed=seed)
        # A probe that times out takes a little longer than its timeout, and the kill a few milliseconds.
        assert toll.found_after_s and max(toll.found_after_s) <= within_s + 0.5


def test_ux_examples_of_finding_a_dead_pod() -> None:
    found = [odds.found_within_s(spec(10, timeout_s, failures)) for timeout_s, failures in ((1, 3), (5, 3), (5, 6))]
    assert found == [31.0, 35.0, 65.0]


def test_a_tcp_probe_never_restarts_and_never_finds() -> None:
    one = PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, TcpSocket(8000)),))
    assert odds.restart_probability(one, 1e9) == 0.0
    assert odds.found_within_s(one) == math.inf
    assert suggest(one, History((60.0,))) is None


def test_a_command_is_taken_to_ask_the_server() -> None:
    one = PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, Exec(("curl", "localhost"))),))
    assert odds.restart_probability(one, 40.0) == 1.0


def test_the_curve_runs_from_safe_to_certain() -> None:
    points = odds.curve(spec())
    assert points[0][1] == 0.0
    assert points[-1][1] == 1.0
    assert [odd for _, odd in points] == sorted(odd for _, odd in points)


def test_the_suggestion_survives_all_that_was_seen_with_headroom_and_nothing_better_finds_sooner() -> None:
    history = History((2.0, 31.0, 8.0))
    chosen = suggest(spec(), history)
    assert chosen is not None
    better = with_liveness(spec(), chosen)
    assert odds.longest_survived_s(better) >= 31.0 * HEADROOM
    assert odds.found_within_s(better) <= 31.0 * HEADROOM + 2 * chosen.period_s
    assert chosen.period_s == 10


def test_nothing_is_suggested_where_nothing_recorded_can_restart() -> None:
    assert suggest(spec(), History((5.0, 20.9))) is None


def test_a_history_without_a_watched_time_gives_odds_and_no_rates() -> None:
    table = forecasts(spec(), History((25.0,)))
    assert [row.restarts_per_day for row in table] == [None] * len(table)
    assert table[0].per_stall == pytest.approx(0.4)


def test_without_stalls_nothing_is_restarted_and_the_table_says_so() -> None:
    last = forecasts(spec(), History((25.0,) * 10, DAY_S))[-1]
    assert last.restarts_per_day is not None
    assert (last.restarts_per_day.value, last.restarts_per_day.high, last.unready) == (0.0, 0.0, 0.0)


def test_the_suggestion_chosen_on_the_first_half_holds_on_the_second() -> None:
    """Over 200 stationary random histories the interval stated from the first half covers the restarts of the second,
    lived by the simulated kubelet, in at least 90 %."""
    now, half_s = spec(), 2 * DAY_S
    covered = 0
    for number in range(200):
        random = Random(number)
        process = RandomProcess(random.uniform(1.0, 20.0), Lognormal(random.uniform(4.0, 14.0), 0.8))
        both = process.history(random, 2 * half_s)
        first = History(tuple(length_s for start, length_s in both if start < half_s), half_s)
        second = Scripted(tuple((start - half_s, length_s) for start, length_s in both if start >= half_s))
        chosen = suggest(now, first)
        setting = with_liveness(now, chosen) if chosen is not None else now
        expected = odds.expected_restarts(setting, first.lengths_s)
        low, high = interval(expected, seed=number, draws=1000)
        restarts = simulate(setting, second, pods=1, duration_s=half_s, seed=number).restarts
        covered += low <= restarts <= high
    assert covered >= 180


def test_the_share_of_phases_that_restart_is_the_probability() -> None:
    one = spec(5)
    (probe,) = one.probes
    phases = [5 * (n + 0.5) / 1000 for n in range(1000)]
    share = sum(odds.restarts_at_phase(probe, 15.0, phase) for phase in phases) / len(phases)
    assert share == pytest.approx(odds.restart_probability(one, 15.0), abs=0.002)


def test_a_probe_slower_than_its_period_runs_back_to_back() -> None:
    (probe,) = spec(1).probes
    assert odds.step_s(probe) == pytest.approx(1.04)
