"""What must hold for every spec, every app and every order of events."""

from __future__ import annotations

import heapq
import itertools
import math
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from unstall.errors import OutOfOrder
from unstall.kubelet.delays import USUAL
from unstall.kubelet.life import Life, Toll
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import Kill, Outcome, Published, StartContainer, StartProbe, State, Value, Waiting, Wish
from unstall.model import HttpGet, PodEvent, ProbeSpec, ProbeType

SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def pod_specs(draw: Any) -> PodSpec:
    probes = []
    for type in ProbeType:
        if draw(st.booleans()):
            probes.append(
                ProbeSpec(
                    type,
                    HttpGet(80),
                    period_s=draw(st.integers(1, 12)),
                    timeout_s=draw(st.integers(1, 15)),
                    failure_threshold=draw(st.integers(1, 4)),
                    success_threshold=draw(st.integers(1, 3)) if type is ProbeType.READINESS else 1,
                    initial_delay_s=draw(st.integers(0, 20)),
                    grace_s=draw(st.none() | st.integers(1, 40)) if type is not ProbeType.READINESS else None,
                )
            )
    return PodSpec(
        probes=tuple(probes),
        restart_policy=draw(st.sampled_from(["Always", "Always", "OnFailure", "Never"])),
        grace_s=draw(st.integers(0, 40)),
    )


class Chaos:
    """A driver that answers as chance will have it, and checks what must hold while it does."""

    def __init__(self, spec: PodSpec, seed: int, gloom: float) -> None:
        self.spec = spec
        self.random = Random(seed)
        self.gloom = gloom
        self.pod = Pod(spec, self.random.random, USUAL, clock_offset=self.random.random())
        self.queue: list[tuple[float, int, str, Any]] = []
        self.counter = itertools.count()
        self.in_flight: set[ProbeType] = set()
        self.failures = dict.fromkeys(ProbeType, 0)
        self.alive = False
        self.exited_at: float | None = None
        self.kills = 0

    def run(self, steps: int) -> None:
        self.obey(self.pod.pod_added(0.0), 0.0)
        now = 0.0
        for _ in range(steps):
            wake = self.pod.next_wake
            if self.queue and self.queue[0][0] <= wake:
                at, _, what, data = heapq.heappop(self.queue)
                assert at >= now
                now = at
                self.obey(getattr(self, what)(at, data), at)
            elif wake < math.inf:
                assert wake >= now - 1e-6, "time goes back"
                now = max(now, wake)
                self.obey(self.pod.wake(now), now)
                assert self.pod.next_wake > now, "a wake leaves nothing due"
            else:
                return

    def plan(self, at: float, what: str, data: Any = None) -> None:
        heapq.heappush(self.queue, (at, next(self.counter), what, data))

    def start(self, at: float, _: None) -> list[Wish]:
        self.alive = True
        if self.random.random() < self.gloom / 2:
            self.plan(at + self.random.expovariate(1 / 60), "crash")
        return self.pod.container_started(at)

    def crash(self, at: float, _: None) -> list[Wish]:
        if not self.alive:
            return []
        return self.leave(at)

    def leave(self, at: float, _: None = None) -> list[Wish]:
        if not self.alive:
            return []
        self.alive = False
        self.exited_at = at
        return self.pod.container_exited(self.random.choice([0, 1, 137]), at)

    def answer(self, at: float, data: tuple[ProbeType, Outcome]) -> list[Wish]:
        type, outcome = data
        self.in_flight.discard(type)
        if outcome in (Outcome.FAILURE, Outcome.UNKNOWN):
            self.failures[type] += 1
        elif outcome is not Outcome.ERROR:
            self.failures[type] = 0
        return self.pod.probe_ended(type, outcome, at)

    def obey(self, wishes: list[Wish], now: float) -> None:
        for wish in wishes:
            match wish:
                case StartProbe(type, probe, attempt):
                    assert type not in self.in_flight, "two probes of one worker at once"
                    assert 1 <= attempt <= 3
                    self.in_flight.add(type)
                    good = self.random.random() > self.gloom
                    outcome = Outcome.SUCCESS if good else self.random.choice(list(Outcome))
                    took_s = self.random.random() * probe.timeout_s
                    self.plan(now + took_s, "answer", (type, outcome))
                case Kill(grace_s, reason):
                    self.kills += 1
                    self.check_kill(reason, grace_s)
                    times = wish.times()
                    self.plan(now + self.random.random() * times.sigkill_after_s, "leave")
                case Waiting(_, back_off_s, until):
                    assert 10 <= back_off_s <= 300
                    assert self.exited_at is not None
                    assert now < until <= self.exited_at + 300 + 1e-6
                case StartContainer():
                    assert not self.alive, "two containers at once"
                    self.plan(now + 0.2, "start")
                case PodEvent(at):
                    assert at == pytest.approx(now)
                case _:
                    pass

    def check_kill(self, reason: str, grace_s: int) -> None:
        assert reason != "ReadinessProbe"
        liveness, startup = self.spec.probe(ProbeType.LIVENESS), self.spec.probe(ProbeType.STARTUP)
        enough = [
            probe is not None and self.failures[probe.type] >= probe.failure_threshold for probe in (liveness, startup)
        ]
        assert any(enough), "killed before the failure threshold"
        for probe, failed in zip((liveness, startup), enough, strict=True):
            if probe is not None and failed:
                self.failures[probe.type] = 0  # on hold, its run begins anew
        assert grace_s in {self.spec.grace_s, liveness and liveness.grace_s, startup and startup.grace_s}


@SLOW
@given(pod_specs(), st.integers(0, 2**32), st.sampled_from([0.05, 0.3, 0.6, 0.95]))
def test_no_double_probe_no_early_kill_no_wild_back_off_whatever_happens(
    spec: PodSpec, seed: int, gloom: float
) -> None:
    Chaos(spec, seed, gloom).run(400)


@SLOW
@given(pod_specs(), st.integers(0, 2**32))
def test_readiness_alone_never_kills(spec: PodSpec, seed: int) -> None:
    only = PodSpec(
        probes=tuple(p for p in spec.probes if p.type is ProbeType.READINESS), restart_policy=spec.restart_policy
    )
    chaos = Chaos(only, seed, gloom=0.9)
    chaos.run(300)
    assert chaos.kills == 0


def test_chaos_kills_and_waits_often_enough_to_mean_something() -> None:
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(80), period_s=2, failure_threshold=2)
    chaos = Chaos(PodSpec(probes=(probe,)), seed=1, gloom=0.6)
    chaos.run(3000)
    assert chaos.kills > 20


def key(toll: Toll) -> tuple[Any, ...]:
    found = [round(s, 3) for s in toll.found_after_s]
    return (
        toll.restarts,
        toll.missed_probes,
        toll.back_offs,
        found,
        round(toll.unready_s, 3),
        round(toll.down_s, 3),
    )


stall_lists = st.lists(st.tuples(st.floats(0, 2000), st.floats(0.01, 120) | st.floats(0.5, 3)), max_size=40).map(sorted)


@SLOW
@example(PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, HttpGet(80)),)), [(100.0, 29.0), (140.0, 25.0)], 3)
@given(pod_specs(), stall_lists, st.integers(0, 2**32))
def test_jumping_over_the_quiet_gives_the_same_life_as_every_tick(
    spec: PodSpec, stalls: list[tuple[float, float]], seed: int
) -> None:
    jumped = Life(spec, stalls, 2400.0, Random(seed).random).play()
    walked = Life(spec, stalls, 2400.0, Random(seed).random, jump=False).play()
    assert key(jumped) == key(walked)


def test_time_that_goes_back_is_refused() -> None:
    pod = Pod(PodSpec(), random=lambda: 0.5)
    pod.pod_added(10.0)
    with pytest.raises(OutOfOrder, match=r"time went back from 10 s to 9 s"):
        pod.wake(9.0)


def test_an_answer_nobody_asked_for_is_refused_and_changes_nothing() -> None:
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(80), failure_threshold=1)
    pod = Pod(PodSpec(probes=(probe,)), random=lambda: 0.5)
    pod.pod_added(0.0)
    pod.container_started(1.0)
    with pytest.raises(OutOfOrder):
        pod.probe_ended(ProbeType.LIVENESS, Outcome.FAILURE, 2.0)
    with pytest.raises(OutOfOrder):
        pod.probe_ended(ProbeType.READINESS, Outcome.FAILURE, 2.0)
    assert pod.state is State.RUNNING
    assert pod.next_wake == 10.0


def test_a_prober_that_errs_for_ever_is_tried_three_times_a_tick_and_never_counts() -> None:
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(80), failure_threshold=1)
    pod = Pod(PodSpec(probes=(probe,)), random=lambda: 0.5)
    pod.pod_added(0.0)
    pod.container_started(1.0)
    for tick in range(1, 50):
        wishes = pod.wake(10.0 * tick)
        for attempt in (1, 2, 3):
            assert [w.attempt for w in wishes if isinstance(w, StartProbe)] == [attempt]
            wishes = pod.probe_ended(ProbeType.LIVENESS, Outcome.ERROR, 10.0 * tick + attempt, "boom", "failure")
        texts = [w.message for w in wishes if isinstance(w, PodEvent)]
        assert texts == ["Liveness probe errored and resulted in failure state: boom"]
        assert not any(isinstance(w, Published) and w.value is Value.FAILURE for w in wishes)
    assert pod.state is State.RUNNING
