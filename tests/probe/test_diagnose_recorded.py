"""Every recorded scenario against its ground truth, whole and with records taken away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unstall.probe import recorded
from unstall.probe.cluster import Snapshot
from unstall.probe.diagnose import Diagnosis, diagnose
from unstall.probe.opinion import CAUSES

CLUSTER = Path(__file__).parent.parent / "cluster"
TRUTH: dict[str, Any] = json.loads((CLUSTER / "truth.json").read_text(encoding="utf-8"))
MOMENTS = [(name, moment["suffix"]) for name, truth in TRUTH.items() for moment in truth["moments"]]

# In a grace period nothing recorded tells a blocked loop from a full thread pool or a throttled CPU: the log of the
# instance comes with its end.
STILL_OPEN = {
    ("01-liveness-blocked-137", "1"),
    ("03b-liveness-blocked-termination-log", "0"),
    ("03c-liveness-blocked-fallback-exit0", "0"),
    ("09-cpu-throttled", "0"),
    ("10-sidecar-one-container-killed", "0"),
    ("20-threadpool-exhausted", "0"),
}
# Nothing had happened yet, or nothing that leaves a record ever does.
NOTHING_YET = {
    ("01-liveness-blocked-137", "0"),
    ("05-oomkilled", "0"),
    ("12b-sigterm-from-inside", "0"),
    ("15-tcp-liveness-blocked-passes", "0"),
    ("15-tcp-liveness-blocked-passes", "1"),
    ("21-node-restart", "0"),
    ("25-regression-after-rollout", "0"),
    ("26-blocked-but-deleted-by-user", "0"),
}


def look(name: str, moment: str) -> Snapshot:
    return recorded.look(CLUSTER / "scenarios" / name, moment)


def true_causes(name: str) -> set[str]:
    return set(TRUTH[name]["cause"].split(", "))


def in_question(name: str, found: list[Diagnosis]) -> list[Diagnosis]:
    """The container the scenario is about; of several pods, those to which something happened."""
    mine = [one for one in found if one.container == TRUTH[name]["container"]]
    return [one for one in mine if one.cause != "healthy"] or mine


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_every_recorded_moment_is_diagnosed_as_its_ground_truth_says(name: str, moment: str) -> None:
    found = in_question(name, diagnose(look(name, moment)))
    assert found
    for one in found:
        if (name, moment) in STILL_OPEN:
            assert (one.cause, one.confidence) == ("unknown", "unknown")
            assert true_causes(name) & set(one.candidates)
            assert any("candidates: loop-blocked" in text for text in one.evidence)
        elif (name, moment) in NOTHING_YET:
            assert (one.cause, one.restarts) == ("healthy", 0)
        else:
            assert one.cause in true_causes(name)


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_every_container_is_listed_with_the_restarts_the_truth_counts(name: str, moment: str) -> None:
    told = next(m for m in TRUTH[name]["moments"] if m["suffix"] == moment)["containers"]
    found = {f"{one.pod}/{one.container}": one for one in diagnose(look(name, moment)) if not one.gone}
    assert {key: one.restarts for key, one in found.items()} == {k: v["restarts"] for k, v in told.items()}
    for key, one in found.items():
        last = told[key]["last"]
        if last is not None and one.exit_code is not None:
            assert one.exit_code == last[0]


def less(snapshot: Snapshot) -> Iterator[Snapshot]:
    """The same look by a person who may read less, or later."""
    yield replace(snapshot, throttling={})
    yield replace(snapshot, logs={})
    yield replace(snapshot, logs={}, throttling={})
    yield replace(snapshot, events=(), events_read=False)
    yield replace(snapshot, events=())
    yield replace(snapshot, events=(), events_read=False, logs={}, throttling={})
    yield replace(snapshot, events=(), logs={}, throttling={})
    yield replace(snapshot, events=tuple(e for e in snapshot.events if e.reason != "Killing"))
    yield replace(snapshot, events=tuple(e for e in snapshot.events if e.type == "Normal"))


@pytest.mark.parametrize(("name", "moment"), MOMENTS)
def test_fewer_records_never_lead_to_a_confident_wrong_answer(name: str, moment: str) -> None:
    for poorer in less(look(name, moment)):
        for one in in_question(name, diagnose(poorer)):
            if one.cause == "healthy" and one.restarts == 0:
                continue
            assert one.cause in true_causes(name) | {"unknown"}, one
            assert (one.cause == "unknown") == (one.confidence == "unknown")


def test_the_healthy_sidecar_beside_a_killed_container_is_not_blamed() -> None:
    found = diagnose(look("10-sidecar-one-container-killed", "2"))
    assert {one.container: one.cause for one in found} == {"app": "loop-blocked", "metrics": "healthy"}


def test_a_termination_message_is_decoded_to_route_line_and_length() -> None:
    [one] = diagnose(look("03b-liveness-blocked-termination-log", "after-ttl"))
    assert one.confidence == "certain"
    assert one.stall is not None
    assert (one.stall.seconds, one.stall.route, one.stall.site) == (11.2, "GET /hello", "app/watched.py:15")
    assert "app/watched.py:15" in one.next


def test_a_tcp_probe_that_hides_a_block_is_named() -> None:
    [one] = diagnose(look("15-tcp-liveness-blocked-passes", "1"))
    assert any("TCP port http" in text and "no record" in text for text in one.evidence)


def test_expired_events_are_said_to_be_gone() -> None:
    [one] = diagnose(look("01-liveness-blocked-137", "after-ttl"))
    assert (one.cause, one.confidence) == ("loop-blocked", "likely")
    assert any("one hour" in text for text in one.evidence)


def test_a_regression_names_the_revision_and_its_image() -> None:
    found = diagnose(look("25-regression-after-rollout", "2"))
    assert len(found) == 2
    assert all(any("revision 2" in text and "1.5.0" in text for text in one.evidence) for one in found)


def test_pods_replaced_by_a_rollout_without_trouble_are_left_out() -> None:
    assert {one.pod[-5:] for one in diagnose(look("25-regression-after-rollout", "1"))} == {"7xdds", "b8chz"}


def test_a_pod_deleted_during_a_block_keeps_its_story_after_it_is_gone() -> None:
    found = diagnose(look("26-blocked-but-deleted-by-user", "2"))
    gone = next(one for one in found if one.gone)
    assert (gone.cause, gone.also) == ("deleted", ("loop-blocked-readiness",))
    assert any("a person or a drain" in text for text in gone.evidence)


def test_a_node_that_is_away_is_no_fault_of_a_container_that_runs_on() -> None:
    [one] = diagnose(look("08-healthy-asyncio-sleep", "node-notready"))
    assert one.cause == "healthy"
    assert any("node was not ready" in text for text in one.evidence)


def test_every_diagnosis_has_a_known_cause_and_a_next_step() -> None:
    for name, moment in MOMENTS:
        for one in diagnose(look(name, moment)):
            assert one.cause in CAUSES
            assert set(one.candidates) | set(one.also) <= set(CAUSES)
            assert one.next and one.evidence
