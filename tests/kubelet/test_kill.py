"""Grace, preStop and the two signals, against Kubernetes' own."""

from __future__ import annotations

from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.killing import KillReason, grace, kill_times

KEYS = (
    "name",
    "note",
    "reason",
    "pod_grace_s",
    "probe_grace_s",
    "deletion_grace_s",
    "override_s",
    "prestop_takes_s",
    "expect",
)


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_kill.json"))
def test_the_signals_fall_when_the_kubelet_sends_them(case: dict[str, Any]) -> None:
    refuse_unknown(case, KEYS)
    refuse_unknown(case["expect"], ("sigterm_after_s", "stop_timeout_s", "sigkill_after_s"), "expect")
    grace_s = grace(
        KillReason(case["reason"]),
        case["pod_grace_s"],
        case["probe_grace_s"],
        case["deletion_grace_s"],
        case["override_s"],
    )
    times = kill_times(grace_s, case["prestop_takes_s"])
    assert times.sigterm_after_s == pytest.approx(case["expect"]["sigterm_after_s"], abs=1e-3)
    assert times.stop_timeout_s == case["expect"]["stop_timeout_s"]
    assert times.sigkill_after_s == pytest.approx(case["expect"]["sigkill_after_s"], abs=1e-3)


def test_an_override_beats_every_other_grace() -> None:
    assert grace(KillReason.LIVENESS, 30, 5, 10, override_s=1) == 1
    assert kill_times(1).sigkill_after_s == 2
