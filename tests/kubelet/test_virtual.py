"""Many pods on a virtual clock: what stalls cost under given probes."""

from __future__ import annotations

import math
from random import Random

import pytest

from unstall.kubelet.life import App, Life
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import (
    DAY_S,
    Deadlock,
    Exponential,
    Fixed,
    Lognormal,
    RandomProcess,
    Resampled,
    Scripted,
    StallSource,
)
from unstall.kubelet.virtual import play, simulate
from unstall.kubelet.wishes import Kill, StartProbe, Wish
from unstall.model import HttpGet, ProbeSpec, ProbeType

HEALTH = HttpGet(8000, "/health")
LIVENESS = ProbeSpec(ProbeType.LIVENESS, HEALTH)
READINESS = ProbeSpec(ProbeType.READINESS, HEALTH)
DEFAULT = PodSpec(probes=(READINESS, LIVENESS))


class OneStall:
    """One stall of a given length at a random moment of each pod's life."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s

    def history(self, random: Random, duration_s: float) -> list[tuple[float, float]]:
        return [(60 + random.random() * 100, self.length_s)]


@pytest.mark.parametrize(
    ("length_s", "period_s", "expected"), [(15, 10, 0.0), (15, 5, 0.8), (25, 10, 0.4), (40, 10, 1.0)]
)
def test_the_share_of_restarts_follows_the_formula_checked_against_real_runs(
    length_s: float, period_s: int, expected: float
) -> None:
    probe = ProbeSpec(ProbeType.LIVENESS, HEALTH, period_s=period_s)
    app = App(answers_in_s=1e-4)
    toll = simulate(PodSpec(probes=(probe,)), OneStall(length_s), pods=1500, duration_s=400, seed=3, app=app)
    share = sum(n > 0 for n in toll.restarts_of_pod) / toll.pods
    assert share == pytest.approx(expected, abs=0.05 if 0 < expected < 1 else 0.0)


def test_a_loop_that_stops_for_ever_is_found_after_three_missed_probes() -> None:
    toll = simulate(PodSpec(probes=(LIVENESS,)), Deadlock(60, 160), pods=500, duration_s=600, seed=5)
    assert toll.restarts_of_pod == [1] * 500
    assert len(toll.found_after_s) == 500
    # Two periods and a timeout, plus up to one period until the first tick.
    assert 21 <= min(toll.found_after_s) < 21.5
    assert 30.5 < max(toll.found_after_s) <= 31.01


def test_without_liveness_a_dead_pod_is_never_found_but_taken_out() -> None:
    toll = simulate(PodSpec(probes=(READINESS,)), Deadlock(60, 160), pods=50, duration_s=600, seed=5)
    assert toll.restarts == 0 and toll.found_after_s == []
    assert 0.6 < toll.unready_share < 0.9


@pytest.mark.parametrize(
    "source",
    [
        Scripted(((100.0, 40.0), (900.0, 12.0))),
        RandomProcess(400, Lognormal(2.0, 1.2, longest_s=60)),
        RandomProcess(200, Exponential(8.0), at_least=3),
        Resampled((0.2, 3.0, 45.0), per_day=100, at_least=20),
    ],
    ids=lambda source: type(source).__name__,
)
def test_the_same_seed_gives_the_same_toll_and_another_seed_another(source: StallSource) -> None:
    toll = simulate(DEFAULT, source, pods=40, duration_s=6 * 3600, seed=1)
    assert toll == simulate(DEFAULT, source, pods=40, duration_s=6 * 3600, seed=1)
    assert toll.restarts > 0 and toll.missed_probes > toll.restarts
    if not isinstance(source, Scripted):
        assert toll != simulate(DEFAULT, source, pods=40, duration_s=6 * 3600, seed=2)


def test_two_processes_give_what_one_gives() -> None:
    source = RandomProcess(100, Fixed(33.0))
    one = simulate(DEFAULT, source, pods=1100, duration_s=1800, seed=9)
    assert simulate(DEFAULT, source, pods=1100, duration_s=1800, seed=9, processes=2) == one


def test_resampling_gives_every_pod_its_own_history_of_at_least_so_many() -> None:
    source = Resampled(tuple(i / 10 for i in range(1, 1001)), per_day=25, at_least=20)
    histories = [source.history(Random(i), DAY_S) for i in range(300)]
    assert min(len(history) for history in histories) >= 20
    assert sum(len(history) for history in histories) / 300 == pytest.approx(25.4, abs=1.0)
    assert len({tuple(history) for history in histories}) == 300
    assert all(history == sorted(history) for history in histories)


def test_pods_without_stalls_are_never_restarted() -> None:
    toll = simulate(DEFAULT, Scripted(()), pods=20)
    assert (toll.restarts, toll.unready_s, toll.down_s) == (0, 0.0, 0.0)
    assert toll.missed_probes == 40  # readiness, twice while each pod's port is not open yet
    assert toll.lived_s == 20 * DAY_S


def test_an_app_slow_to_start_ends_in_a_crash_loop_with_back_off() -> None:
    probe = ProbeSpec(ProbeType.LIVENESS, HEALTH, period_s=5)
    toll = simulate(PodSpec(probes=(probe,)), Scripted(()), pods=1, duration_s=3600, app=App(starts_in_s=60))
    assert toll.restarts > 5
    assert toll.back_offs > 3
    # It never gets to open its port, so it is down from its first exit on.
    assert toll.down_share > 0.95


def test_a_kill_during_a_long_stall_runs_into_sigkill_after_the_grace() -> None:
    life = Life(PodSpec(probes=(LIVENESS,), grace_s=7), [(100.0, math.inf)], 400.0, lambda: 0.5)
    toll = life.play()
    # Its ticks fall on whole tens of seconds: failures at 101, 111 and 121 s, or ten seconds later each.
    assert toll.found_after_s in ([pytest.approx(21.0)], [pytest.approx(31.0)])
    # 0.3 s to start it again and 2 s to open the port; the 7 s of grace the port was open, if deaf.
    assert toll.down_s == pytest.approx(2.3)


def test_play_tells_every_wish_with_its_time() -> None:
    told: list[tuple[float, Wish]] = []
    toll = play(DEFAULT, [(100.0, 60.0)], 300.0, watch=lambda at, wish: told.append((at, wish)))
    assert toll.restarts == 1
    assert sum(isinstance(wish, Kill) for _, wish in told) == 1
    assert sum(isinstance(wish, StartProbe) for _, wish in told) > 50
    assert [at for at, _ in told] == sorted(at for at, _ in told)
