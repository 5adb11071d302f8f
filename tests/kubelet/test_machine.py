"""The pod's machine, one rule at a time."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path
from types import ModuleType

import pytest

from unstall.errors import OutOfOrder
from unstall.kubelet import back_off, machine, virtual
from unstall.kubelet.delays import EXACT, USUAL, Kubelet
from unstall.kubelet.killing import KillReason
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec, RestartRule
from unstall.kubelet.wishes import (
    Kill,
    Outcome,
    ReadyChanged,
    StartContainer,
    StartProbe,
    State,
    StatusChanged,
    Waiting,
    Wish,
)
from unstall.model import HttpGet, PodEvent, ProbeSpec, ProbeType

LIVENESS, READINESS, STARTUP = ProbeType.LIVENESS, ProbeType.READINESS, ProbeType.STARTUP


def probe(type: ProbeType, period_s: int = 10, failures: int = 1, **more: int) -> ProbeSpec:
    return ProbeSpec(type, HttpGet(80), period_s=period_s, failure_threshold=failures, **more)


def running(*probes: ProbeSpec, kubelet: Kubelet = EXACT, random: float = 0.5, **spec: object) -> Pod:
    """A pod added at 0 whose container started at 0.5."""
    pod = Pod(PodSpec(probes=probes, **spec), random=lambda: random, kubelet=kubelet)  # type: ignore[arg-type]
    pod.pod_added(0.0)
    pod.container_started(0.5)
    return pod


def fail(pod: Pod, at: float, type: ProbeType = LIVENESS) -> list[Wish]:
    """The probe due at this time fails at once."""
    assert any(isinstance(wish, StartProbe) and wish.type is type for wish in pod.wake(at))
    return pod.probe_ended(type, Outcome.FAILURE, at, "no answer")


def only(wishes: list[Wish], kind: type) -> list[Wish]:
    return [wish for wish in wishes if isinstance(wish, kind)]


def texts(wishes: list[Wish]) -> list[str]:
    return [f"{wish.reason}: {wish.message}" for wish in wishes if isinstance(wish, PodEvent)]


@pytest.mark.parametrize("path", sorted(Path(machine.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_the_machine_and_what_it_is_made_of_touch_neither_clock_nor_socket(path: Path) -> None:
    sans_io = "machine worker workers wishes words readiness restarting killing back_off delays life".split()  # noqa: SIM905
    if path.stem not in sans_io:
        return
    names = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not names & {"time", "asyncio", "socket", "random", "logging", "threading", "datetime"}


def test_a_pod_on_an_old_kubelet_probes_without_jitter_and_on_a_young_one_with() -> None:
    assert running(probe(LIVENESS)).next_wake == 10.0
    young = Pod(PodSpec(probes=(probe(LIVENESS),)), random=lambda: 0.37, kubelet=Kubelet(started_at=-3.0))
    young.pod_added(0.0)
    young.container_started(0.5)
    assert young.next_wake == pytest.approx(3.7)
    old_enough = Pod(PodSpec(probes=(probe(LIVENESS),)), random=lambda: 0.37, kubelet=Kubelet(started_at=-10.0))
    old_enough.pod_added(0.0)
    assert old_enough.next_wake == 10.0


def test_a_container_older_than_the_kubelet_keeps_its_liveness_until_the_first_result() -> None:
    pod = Pod(PodSpec(probes=(probe(READINESS),)), random=lambda: 0.5, kubelet=Kubelet(started_at=100.0))
    pod.pod_added(100.0)
    pod.container_started(100.0)
    pod.status.started_at = 50.0
    assert not any("Published" in type(wish).__name__ for wish in pod.wake(105.0))


def test_a_liveness_kill_says_what_the_kubelet_says_and_uses_the_probes_own_grace() -> None:
    pod = running(probe(LIVENESS, grace_s=7), grace_s=30)
    wishes = fail(pod, 10.0)
    assert texts(wishes) == [
        "Unhealthy: Liveness probe failed: no answer",
        "Killing: Container app failed liveness probe, will be restarted",
    ]
    assert only(wishes, Kill) == [
        Kill(7, KillReason.LIVENESS, "Container app failed liveness probe, will be restarted")
    ]


def test_the_first_two_probe_kills_restart_at_once_and_the_third_waits() -> None:
    pod = running(probe(LIVENESS, period_s=1))
    now = 1.0
    for _ in range(2):
        fail(pod, now)
        assert only(pod.container_exited(137, now + 0.1), StartContainer)
        pod.container_started(now + 0.2)
        now += 1.0
    fail(pod, now)
    wishes = pod.container_exited(137, now + 0.1)
    assert not only(wishes, StartContainer)
    assert only(wishes, Waiting)
    assert texts(wishes)[0].startswith("BackOff: Back-off restarting failed container app in pod app_default(")


def test_a_crash_is_noticed_at_the_next_relist_only() -> None:
    pod = running(kubelet=USUAL, random=0.8)
    assert pod.container_exited(1, 20.0) == []
    assert pod.ready
    assert pod.next_wake == pytest.approx(20.8)
    wishes = pod.wake(20.8)
    assert wishes == [StatusChanged(False, False), ReadyChanged(False), StartContainer()]


def test_a_refused_restart_comes_back_stretched_and_every_minute_at_the_latest() -> None:
    pod = running(kubelet=USUAL, random=0.5)
    now = 1.0
    waits = []
    for _ in range(7):
        pod.container_exited(1, now)
        exited_at = now
        while not only(pod.wake(now := pod.next_wake), StartContainer):
            pass
        waits.append(now - exited_at)
        pod.container_started(now)
        now += 0.1
    # 0.5 s to notice, then nothing; after that remaining * 1.25 in steps of at most a minute, and half a second.
    for wait_s, back_off_s in zip(waits, [0, 10, 20, 40, 80, 160, 300], strict=True):
        assert back_off_s <= wait_s <= back_off_s + min(back_off_s, 60) / 2 + 2


def test_without_a_readiness_probe_the_pod_stays_ready_all_through_the_kill() -> None:
    pod = running(probe(LIVENESS))
    assert not only(fail(pod, 10.0), ReadyChanged)
    assert pod.ready
    assert not only(pod.container_exited(0, 40.0), ReadyChanged)
    assert not only(pod.container_started(40.3), ReadyChanged)


def test_readiness_goes_to_the_api_even_while_a_kill_blocks_the_sync() -> None:
    pod = running(probe(LIVENESS), probe(READINESS, period_s=3))
    pod.probe_ended(READINESS, Outcome.SUCCESS, 0.6)
    pod.probe_ended(READINESS, Outcome.SUCCESS, 0.7)
    assert pod.ready
    for at in (3.6, 6.6, 9.6):
        pod.wake(at)
        pod.probe_ended(READINESS, Outcome.SUCCESS, at)
    fail(pod, 10.0)
    pod.wake(12.6)
    wishes = pod.probe_ended(READINESS, Outcome.FAILURE, 12.6)
    assert only(wishes, ReadyChanged) == [ReadyChanged(False)]
    assert not only(wishes, StatusChanged) and not only(wishes, StartProbe)


def test_with_restart_policy_never_a_probe_kill_ends_the_pod_with_the_pods_own_grace() -> None:
    pod = running(probe(LIVENESS, grace_s=3), restart_policy="Never", grace_s=20)
    wishes = fail(pod, 10.0)
    assert only(wishes, Kill) == [Kill(20, KillReason.UNKNOWN, "Stopping container app")]
    pod.container_exited(0, 11.0)
    assert pod.state is State.OVER
    assert not pod.ready


def test_a_clean_exit_is_restarted_after_a_probe_kill_but_not_after_a_crash_under_on_failure() -> None:
    killed = running(probe(LIVENESS), restart_policy="OnFailure")
    fail(killed, 10.0)
    assert only(killed.container_exited(0, 11.0), StartContainer)
    crashed = running(restart_policy="OnFailure")
    assert not only(crashed.container_exited(0, 11.0), StartContainer)
    assert crashed.state is State.OVER


def test_a_containers_own_rules_bring_back_what_the_pods_policy_would_leave() -> None:
    own: dict[str, object] = {
        "restart_policy": "Never",
        "container_restart_policy": "Never",
        "restart_rules": (RestartRule("In", (42,)),),
    }
    assert only(running(**own).container_exited(42, 5.0), StartContainer)
    assert not only(running(**own).container_exited(1, 5.0), StartContainer)


def test_a_startup_probe_that_fails_kills_and_one_that_passes_lets_readiness_go_at_once() -> None:
    pod = running(probe(STARTUP, period_s=2, failures=2), probe(READINESS, period_s=30))
    assert not only(fail(pod, 2.0, STARTUP), Kill)
    assert only(fail(pod, 4.0, STARTUP), Kill)
    pod = running(probe(STARTUP, period_s=2), probe(READINESS, period_s=30))
    pod.wake(2.0)
    wishes = pod.probe_ended(STARTUP, Outcome.SUCCESS, 2.1)
    assert [wish.type for wish in wishes if isinstance(wish, StartProbe)] == [READINESS]


def test_a_deleted_pod_is_stopped_once_and_never_started_again() -> None:
    pod = running(probe(LIVENESS), grace_s=30)
    wishes = pod.pod_deleted(5.0, grace_s=4)
    assert only(wishes, Kill) == [Kill(4, KillReason.UNKNOWN, "Stopping container app")]
    assert not only(pod.container_exited(0, 6.0), StartContainer)
    assert pod.state is State.OVER
    assert pod.next_wake == float("inf")


def test_a_deletion_waits_for_the_kill_that_is_under_way_and_stops_what_it_restarts() -> None:
    pod = running(probe(LIVENESS))
    fail(pod, 10.0)
    assert pod.pod_deleted(15.0) == []
    assert only(pod.container_exited(137, 40.0), StartContainer)
    assert only(pod.container_started(40.3), Kill)
    assert not only(pod.container_exited(0, 41.0), StartContainer)
    assert pod.state is State.OVER


def test_a_pod_deleted_in_its_back_off_is_over_at_once() -> None:
    pod = running()
    pod.container_exited(1, 1.0)
    pod.container_started(1.1)
    assert only(pod.container_exited(1, 2.0), Waiting)
    pod.pod_deleted(3.0)
    assert pod.state is State.OVER


def test_a_late_wake_takes_one_tick_and_keeps_the_phase() -> None:
    pod = running(probe(LIVENESS, period_s=2))
    assert len(only(pod.wake(7.3), StartProbe)) == 1
    pod.probe_ended(LIVENESS, Outcome.SUCCESS, 7.4)
    assert pod.next_wake == 8.0


def test_a_prestop_hook_delays_sigterm_and_takes_its_seconds_off_the_grace() -> None:
    pod = running(probe(LIVENESS), grace_s=10, prestop=3)
    (kill,) = only(fail(pod, 10.0), Kill)
    assert isinstance(kill, Kill)
    assert (kill.times().sigterm_after_s, kill.times().sigkill_after_s) == (3, 10)
    assert kill.times(8.7).stop_timeout_s == 2


def test_an_exit_of_a_container_that_does_not_run_is_refused() -> None:
    pod = running()
    pod.container_exited(1, 1.0)
    with pytest.raises(OutOfOrder, match="no container runs"):
        pod.container_exited(1, 1.1)


@pytest.mark.parametrize("module", [machine, back_off, virtual], ids=lambda module: module.__name__)
def test_the_worked_examples_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(module).failed == 0
