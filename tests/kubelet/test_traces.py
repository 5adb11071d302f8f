"""Traces of a real kubelet, predicted by the machine within the recording's tolerances."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from case_files import folder, params, refuse_unknown
from replay import Replay, compare

KEYS = (
    "name",
    "note",
    "kubelet",
    "spec",
    "app",
    "load",
    "duration_s",
    "manifest_removed_at",
    "port_open_at",
    "events",
    "probes",
    "actions",
    "status",
    "requests",
    "app_log",
    "summary",
)


@pytest.mark.conformance
@pytest.mark.parametrize("trace", params("traces.json", key="traces"))
def test_the_machine_predicts_what_the_real_kubelet_did(trace: dict[str, Any]) -> None:
    refuse_unknown(trace, KEYS, "the trace")
    assert compare(trace, Replay(trace).play()) == []


@pytest.fixture
def killed() -> dict[str, Any]:
    """A trace with a kill, a SIGKILL, a restart and back-off."""
    found = [param.values[0] for param in params("traces.json", key="traces")]
    trace = next((t for t in found if t and t["summary"]["backoff_messages"] and t["summary"]["kills"]), None)
    if trace is None:
        pytest.skip(f"{folder()} has no trace with a back-off after a kill")
    return copy.deepcopy(trace)


def test_the_comparison_sees_a_late_probe(killed: dict[str, Any]) -> None:
    predicted = Replay(killed).play()
    at, type, result = predicted.probes[0]
    predicted.probes[0] = (at + 0.2, type, result)
    assert any("probe" in sentence for sentence in compare(killed, predicted))


def test_the_comparison_sees_a_restart_outside_its_jitter(killed: dict[str, Any]) -> None:
    predicted = Replay(killed).play()
    earliest, latest = predicted.starts[-1]
    predicted.starts[-1] = (earliest - 40, latest - 40)
    assert any("restart in" in sentence for sentence in compare(killed, predicted))


def test_the_comparison_sees_a_kill_that_never_was(killed: dict[str, Any]) -> None:
    predicted = Replay(killed).play()
    predicted.kills.pop(0)
    assert any("kills predicted" in sentence for sentence in compare(killed, predicted))


@pytest.mark.skipif("UNSTALL_KUBELET_CASES" in os.environ, reason="the page shows the traces of this repository")
def test_the_table_in_the_docs_is_what_the_machine_predicts_now() -> None:
    root = Path(__file__).parent.parent.parent
    script = [sys.executable, str(root / "scripts" / "kubelet_table.py"), "--check"]
    assert subprocess.run(script, timeout=60).returncode == 0, "run scripts/kubelet_table.py"
