"""Started and ready in the pod's status, against Kubernetes' own."""

from __future__ import annotations

from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.readiness import is_ready, is_started
from unstall.kubelet.wishes import Value

pytestmark = pytest.mark.conformance

CACHED = {
    "none": None,
    "not_probed": None,
    "Success": Value.SUCCESS,
    "Failure": Value.FAILURE,
    "Unknown": Value.UNKNOWN,
}


@pytest.mark.parametrize("case", params("cases_ready.json"))
def test_started_ready_and_the_trigger_follow_from_state_and_results(case: dict[str, Any]) -> None:
    refuse_unknown(case, ("name", "note", "state", "readiness", "startup", "expect"))
    refuse_unknown(case["expect"], ("started", "ready", "readiness_triggered_now"), "expect")
    started = is_started(case["state"] == "running", CACHED[case["startup"]], case["startup"] != "none")
    ready, triggered = is_ready(started, CACHED[case["readiness"]], case["readiness"] != "none")
    assert {"started": started, "ready": ready, "readiness_triggered_now": triggered} == case["expect"]
