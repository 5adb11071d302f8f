"""One run of one worker in every situation, against Kubernetes' own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.restarting import restarts_after_exit
from unstall.kubelet.wishes import COUNTED, Outcome, Value
from unstall.kubelet.worker import CachedStatus, Step, Worker
from unstall.model import HttpGet, ProbeSpec, ProbeType

pytestmark = pytest.mark.conformance

KEYS = ("name", "note", "situation", "type", "restartPolicy", "failureThreshold", "probe_would_return", "expect")
NOW = 1000.0


def played(case: dict[str, Any]) -> dict[str, Any]:
    """One doProbe call: the situation is set up, the worker runs once, the probe, if any, ends at once."""
    situation = case["situation"]
    type = ProbeType(case["type"].lower())
    status = CachedStatus()
    worker = Worker(
        ProbeSpec(
            type,
            HttpGet(80),
            failure_threshold=case["failureThreshold"],
            initial_delay_s=60 if situation == "running_in_initial_delay" else 0,
        ),
        NOW,
    )
    if situation != "no_status":
        status.instance = 1
        status.started_at = NOW - 30
    if situation.startswith("phase_"):
        status.over = True
    if situation.startswith(("running", "on_hold", "phase")):
        status.state = "running"
        status.started = "not_started" not in situation and type is not ProbeType.STARTUP
    if situation.startswith("terminated"):
        status.state = "terminated"
        status.restartable = restarts_after_exit(int(situation.removeprefix("terminated")), case["restartPolicy"])
    if situation.endswith("deleting"):
        status.deleting = True
    if situation.startswith("on_hold"):
        worker.on_hold = True
        worker.instance = 0 if any(word in situation for word in ("old", "other", "new", "differ")) else 1
    step, changes = worker.run_once(status, NOW, -math.inf)
    passed = COUNTED.get(Outcome(case["probe_would_return"]))
    if step is Step.PROBE and passed is not None:
        changes += worker.record(passed)
    published = {Value.UNKNOWN: "Unknown"}.get(changes[-1], str(changes[-1])) if changes else None
    return {
        "worker_continues": step is not Step.END,
        "probed": step is Step.PROBE,
        "published": published,
        "on_hold": worker.on_hold,
    }


@pytest.mark.parametrize("case", params("cases_doprobe.json"))
def test_one_run_of_a_worker_probes_publishes_and_holds_as_the_real_one(case: dict[str, Any]) -> None:
    refuse_unknown(case, KEYS)
    refuse_unknown(case["expect"], ("worker_continues", "probed", "published", "on_hold"), "expect")
    assert played(case) == case["expect"]
