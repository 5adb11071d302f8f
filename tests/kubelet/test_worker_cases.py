"""The prober's workers against Kubernetes' own, exact to 1 ms."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.delays import Kubelet
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import (
    Kill,
    Outcome,
    Published,
    ReadyChanged,
    StartContainer,
    StartProbe,
    State,
    StatusChanged,
    Wish,
)
from unstall.model import HttpGet, PodEvent, ProbeSpec, ProbeType

pytestmark = pytest.mark.conformance

KEYS = [
    "name",
    "note",
    "restart_policy",
    "probes",
    "clock_offset",
    "container_started_at",
    "stop_takes",
    "restart_takes",
    "exit_code",
    "server",
    "server_relative_to_container_start",
    "crash_at",
    "delete_at",
    "until",
    "expect",
]
PROBE_KEYS = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
ANSWERS = {
    "ok": Outcome.SUCCESS,
    "fail": Outcome.FAILURE,
    "hang": Outcome.FAILURE,
    "warning": Outcome.WARNING,
    "unknown": Outcome.UNKNOWN,
    "error": Outcome.ERROR,
}
KUBELET = Kubelet(relist_s=0.0, resync_s=math.inf, stretch=0.0, queue_s=0.0, back_off_base_s=0.0)
"""The cases were made without back-off."""


def probe_spec(type: str, fields: dict[str, int]) -> ProbeSpec:
    refuse_unknown(fields, PROBE_KEYS, f"{type} probe")
    return ProbeSpec(
        ProbeType(type),
        HttpGet(80),
        period_s=fields["periodSeconds"],
        timeout_s=fields["timeoutSeconds"],
        failure_threshold=fields["failureThreshold"],
        success_threshold=fields["successThreshold"],
        initial_delay_s=fields["initialDelaySeconds"],
    )


class Harness:
    """Plays a case: one heap, the machine, and a server that exists independently of the container."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        probes = tuple(probe_spec(type, fields) for type, fields in case["probes"].items())
        spec = PodSpec(probes=probes, restart_policy=case["restart_policy"])
        self.pod = Pod(spec, random=lambda: 0.0, kubelet=KUBELET, clock_offset=case["clock_offset"])
        self.queue: list[tuple[float, int, str, Any]] = []
        self.counter = itertools.count()
        self.timeline: list[dict[str, Any]] = []
        self.started_at = 0.0
        self.running = False
        self.generation = 0
        self.at(case["container_started_at"], "start")
        for crash in case["crash_at"]:
            self.at(crash, "crash")
        if case["delete_at"]:
            self.at(case["delete_at"], "delete")

    def at(self, t: float, what: str, data: Any = None) -> None:
        heapq.heappush(self.queue, (t, next(self.counter), what, data))

    def note(self, t: float, ev: str, **fields: Any) -> None:
        self.timeline.append({"t": t, "ev": ev, **fields})

    def play(self) -> list[dict[str, Any]]:
        until = self.case["until"]
        self.obey(self.pod.pod_added(0.0), 0.0)
        while True:
            wake = self.pod.next_wake
            if self.queue and self.queue[0][0] <= wake:
                t, _, what, data = heapq.heappop(self.queue)
                if t > until - 1e-3:
                    break
                self.obey(getattr(self, what)(t, data), t)
            else:
                if wake > until - 1e-3:
                    break
                self.obey(self.pod.wake(wake), wake)
        return self.timeline

    def start(self, t: float, _: None) -> list[Wish]:
        self.started_at, self.running = t, True
        self.generation += 1
        self.note(t, "container_started", instance=self.generation)
        return self.pod.container_started(t)

    def crash(self, t: float, _: None) -> list[Wish]:
        if not self.running:
            return []
        policy, code = self.case["restart_policy"], self.case["exit_code"]
        killing = self.pod.state is State.KILLING
        return self.exit(t, restarts=policy == "Always" or (policy == "OnFailure" and (killing or code != 0)))

    def killed(self, t: float, generation: int) -> list[Wish]:
        if not self.running or generation != self.generation:
            return []
        return self.exit(t, restarts=self.case["restart_policy"] != "Never")

    def exit(self, t: float, restarts: bool) -> list[Wish]:
        self.running = False
        self.note(t, "container_exited", exit_code=self.case["exit_code"])
        if restarts:
            self.at(t + self.case["restart_takes"], "start")
        return self.pod.container_exited(self.case["exit_code"], t)

    def delete(self, t: float, _: None) -> list[Wish]:
        self.note(t, "pod_deletion_requested")
        return self.pod.probing_stopped(t)

    def answer(self, t: float, data: tuple[ProbeType, Outcome]) -> list[Wish]:
        return self.pod.probe_ended(data[0], data[1], t)

    def obey(self, wishes: list[Wish], t: float) -> None:
        for wish in wishes:
            match wish:
                case StartProbe(type, probe):
                    kind, takes_s = self.served(type, probe.timeout_s, t)
                    self.note(t, "probe", type=str(type), kind=kind)
                    outcome = Outcome.FAILURE if takes_s >= probe.timeout_s else ANSWERS[kind]
                    self.at(t + min(takes_s, probe.timeout_s), "answer", (type, outcome))
                case Published(type, value):
                    self.note(t, "result", type=str(type), value=str(value))
                case StatusChanged(started, ready):
                    self.note(t, "status", started=started, ready=ready)
                case Kill(_, reason):
                    failed = reason.value.removesuffix("Probe").lower()
                    if failed == "unknown":  # restartPolicy Never stops the pod; the cause is the published failure
                        failed = next(e["type"] for e in reversed(self.timeline) if e.get("value") == "Failure")
                    self.note(t, "kill", reason=failed)
                    self.at(t + self.case["stop_takes"], "killed", self.generation)
                case StartContainer() | PodEvent() | ReadyChanged():
                    pass
                case _:
                    pytest.fail(f"unexpected {wish}")

    def served(self, type: ProbeType, timeout_s: int, t: float) -> tuple[str, float]:
        """What the server says to a probe sent at t, and how long it takes."""
        age = t - self.started_at if self.case["server_relative_to_container_start"] else t
        entries = [entry for entry in self.case["server"][str(type)] if entry["from"] <= age + 1e-9]
        entry = max(entries, key=lambda entry: entry["from"])
        refuse_unknown(entry, ("from", "kind", "latency"), "a server entry")
        return entry["kind"], math.inf if entry["kind"] == "hang" else entry["latency"]


@pytest.mark.parametrize("case", params("cases_worker.json"))
def test_the_machine_does_what_the_real_workers_did_to_the_millisecond(case: dict[str, Any]) -> None:
    refuse_unknown(case, KEYS)
    expect = case["expect"]
    refuse_unknown(expect, ("timeline", "kills", "probes"), "expect")
    timeline = Harness(case).play()
    # What falls on the very end was a race in the recording.
    real = [entry for entry in expect["timeline"] if entry["t"] < case["until"] - 1e-3]
    assert readable(timeline) == readable(real)
    late = len(expect["timeline"]) - len(real)
    assert 0 <= expect["kills"] - sum(e["ev"] == "kill" for e in timeline) <= late
    assert 0 <= expect["probes"] - sum(e["ev"] == "probe" for e in timeline) <= late


def readable(timeline: list[dict[str, Any]]) -> list[str]:
    """One line an entry, to the millisecond; entries of the same time in a fixed order."""
    lines = []
    for entry in timeline:
        rest = " ".join(f"{key}={entry[key]}" for key in sorted(entry) if key not in ("t", "ev"))
        lines.append((round(entry["t"] * 1000), entry["ev"], rest))
    return [f"{ms / 1000:.3f} {ev} {rest}" for ms, ev, rest in sorted(lines)]
