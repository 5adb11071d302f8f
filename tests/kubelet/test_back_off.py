"""The crash-loop back-off, against Kubernetes' own, exact to 1 ms."""

from __future__ import annotations

import math
from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.back_off import BackOff, go_duration
from unstall.kubelet.delays import Kubelet
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import Kill, Outcome, StartContainer, StartProbe, Waiting, Wish
from unstall.model import HttpGet, ProbeSpec, ProbeType

KEYS = ("name", "note", "mode", "base_s", "max_s", "lifetimes", "stop_takes", "pleg_delay", "expect")
ENTRY_KEYS = ("t", "ev", "restart_count", "backoff_s", "exited_finished_at", "in_backoff", "message", "retry_at")
LIVENESS = ProbeType.LIVENESS


class Loop:
    """A container that lives for the given times; its restart itself takes no time."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.timeline: list[dict[str, Any]] = []
        self.exit_to_start: list[float] = []
        self.exited_at = 0.0
        self.before: float | None = None
        self.starts = 0
        # An exit is noticed after half of `relist_s` where every random number is a half.
        kubelet = Kubelet(
            relist_s=2 * case["pleg_delay"],
            resync_s=math.inf,
            stretch=0.0,
            queue_s=0.0,
            back_off_base_s=case["base_s"],
        )
        probe = ProbeSpec(LIVENESS, HttpGet(80), period_s=10**9, failure_threshold=1)
        spec = PodSpec(
            pod="p", uid="uid", max_back_off_s=case["max_s"], probes=(probe,) if case["mode"] == "probe_kill" else ()
        )
        self.pod = Pod(spec, random=lambda: 0.5, kubelet=kubelet)

    def play(self) -> None:
        self.obey(self.pod.pod_added(0.0), 0.0)
        while len(self.timeline) < len(self.case["expect"]["timeline"]) and self.pod.next_wake < 1e6:
            now = self.pod.next_wake
            self.obey(self.pod.wake(now), now)

    def obey(self, wishes: list[Wish], now: float, seen_before: bool = False) -> None:
        for wish in wishes:
            match wish:
                case StartContainer():
                    if self.starts:
                        self.check(now, seen_before, in_backoff=False)
                        self.exit_to_start.append(now - self.exited_at)
                    self.start(now)
                case Waiting(message, _, until):
                    self.check(now, seen_before, in_backoff=True, message=message, retry_at=until)
                case StartProbe():
                    self.timeline.append({"t": now, "ev": "kill"})
                    self.obey(self.pod.probe_ended(LIVENESS, Outcome.FAILURE, now), now)
                case Kill():
                    self.exit(now + self.case["stop_takes"])
                case _:
                    pass

    def start(self, now: float) -> None:
        if self.starts == len(self.case["lifetimes"]):
            return  # the recording ends here
        life_s = self.case["lifetimes"][self.starts]
        self.timeline.append({"t": now, "ev": "start", "restart_count": self.starts})
        self.starts += 1
        self.obey(self.pod.container_started(now), now)
        if self.case["mode"] == "probe_kill":
            self.pod.workers.by_type[LIVENESS].tick_at = now + life_s
            self.obey(self.pod.wake(now + life_s), now + life_s)
        else:
            self.exit(now + life_s)

    def exit(self, now: float) -> None:
        self.exited_at = now
        self.timeline.append({"t": now, "ev": "exit"})
        # A sync that killed goes on with the pod status of before, so this exit is not in it.
        self.before = self.pod.seen_exit_at
        killed = self.case["mode"] == "probe_kill"
        self.obey(self.pod.container_exited(1, now), now, seen_before=killed)

    def check(self, now: float, seen_before: bool, **fields: Any) -> None:
        seen = self.before if seen_before else self.pod.seen_exit_at
        self.timeline.append(
            {
                "t": now,
                "ev": "check",
                "backoff_s": self.pod.back_off.current_s,
                "exited_finished_at": None if seen is None else [seen],
                **fields,
            }
        )


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_backoff.json"))
def test_a_crash_loop_waits_as_long_as_the_kubelet_makes_it_wait(case: dict[str, Any]) -> None:
    refuse_unknown(case, KEYS)
    refuse_unknown(case["expect"], ("exit_to_start_s", "timeline"), "expect")
    for entry in case["expect"]["timeline"]:
        refuse_unknown(entry, ENTRY_KEYS, "a timeline entry")
    loop = Loop(case)
    loop.play()
    real = case["expect"]["timeline"]
    assert rounded(loop.timeline[: len(real)]) == rounded(real)
    waits = case["expect"]["exit_to_start_s"]
    assert loop.exit_to_start[: len(waits)] == pytest.approx(waits, abs=1e-3)


def rounded(timeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times to the millisecond; ``message`` and ``retry_at`` only where a check was refused."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return round(value, 3) if isinstance(value, int | float) and not isinstance(value, bool) else value

    return [{key: plain(value) for key, value in entry.items()} for entry in timeline]


def test_a_cap_below_the_base_lowers_the_base() -> None:
    back_off = BackOff(base_s=10, cap_s=3)
    assert back_off.refuses(1.0, 1.0) is None
    assert back_off.refuses(2.0, 2.0) == 3


def test_a_life_of_exactly_twice_the_cap_does_not_reset_and_a_moment_more_does() -> None:
    for life_s, wait_s in ((600.0, 10.0), (600.1, None)):
        back_off = BackOff()
        assert back_off.refuses(0.0, 0.0) is None
        assert back_off.refuses(life_s, life_s) == wait_s


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.5, "500ms"), (1.5, "1.5s"), (3725, "1h2m5s")])
def test_durations_read_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
