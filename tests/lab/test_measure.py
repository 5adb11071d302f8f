"""Numbers from timelines: the formula, latencies, medians and the story."""

from __future__ import annotations

import random

import pytest

from unstall.lab import measure
from unstall.model import (
    HttpGet,
    Phase,
    PodEvent,
    PodTimeline,
    ProbeRecord,
    ProbeSpec,
    ProbeType,
    Request,
    Site,
    Stall,
    Trial,
)


def liveness(period_s: int, timeout_s: int = 1, failures: int = 3) -> ProbeSpec:
    return ProbeSpec(ProbeType.LIVENESS, HttpGet(8000, "/health"), period_s, timeout_s, failures)


def test_latency_counts_from_when_the_request_was_due() -> None:
    assert measure.latencies([Request("GET /", due_at=1.0, sent_at=1.5, answered_at=3.0, status=200)]) == [2.0]


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 101)]
    assert measure.percentile(values, 0.5) == 50
    assert measure.percentile(values, 0.99) == 99
    assert measure.percentile([], 0.5) is None


def test_the_interval_of_a_median_covers_it_at_least_95_times_in_100() -> None:
    draw = random.Random(1)
    for n in (6, 9, 20, 41):
        covered = 0
        for _ in range(2000):
            bounds = measure.median_interval([draw.expovariate(1.0) for _ in range(n)])
            assert bounds is not None
            covered += bounds[0] <= 0.693147 <= bounds[1]
        assert covered / 2000 > 0.935


def test_few_trials_give_their_range_and_one_gives_none() -> None:
    assert measure.median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert measure.median_interval([1.0]) is None


def test_health_is_judged_only_while_the_other_route_runs() -> None:
    timeline = PodTimeline(
        20.0,
        requests=(
            Request("GET /health", 0.0, 0.0, 0.01, 200),
            Request("GET /hello", 1.0, 1.0, 11.0, 200),
            Request("GET /health", 2.0, 2.0, 11.0, 200),
            Request("GET /health", 12.0, 12.0, 12.01, 200),
        ),
    )
    assert measure.watched_latency(timeline, "GET /health", "GET /hello") == pytest.approx(9.0)
    assert measure.idle_latency(timeline, "GET /health", "GET /hello") == pytest.approx(0.01)


def test_time_before_the_first_readiness_is_not_counted_as_down() -> None:
    timeline = PodTimeline(30.0, unready=((0.0, 2.0), (10.0, 13.5)))
    assert measure.not_ready_s(timeline) == pytest.approx(3.5)


def test_a_probe_refused_while_the_app_starts_is_no_miss() -> None:
    refused, late = (ProbeRecord(ProbeType.LIVENESS, at, at + 0.1, "failure") for at in (1.0, 9.0))
    answered = ProbeRecord(ProbeType.LIVENESS, 5.0, 5.1, "success")
    assert PodTimeline(10.0, probes=(refused, answered, late)).missed_probes == 1
    assert PodTimeline(10.0, probes=(refused, late)).missed_probes == 2
    assert PodTimeline(10.0, probes=(late,), requests=(Request("GET /", 6.0, 6.0, 7.0, 200),)).missed_probes == 1


def restarted() -> PodTimeline:
    return PodTimeline(
        40.0,
        phases=(Phase("running", 0, 16), Phase("terminating", 16, 20), Phase("running", 20, 40, instance=1)),
        probes=tuple(
            ProbeRecord(ProbeType.LIVENESS, at, at + 1, "failure", "context deadline exceeded", run)
            for run, at in enumerate((5.0, 10.0, 15.0), 1)
        ),
        stalls=(Stall(3.0, 17.0, site=Site("app.py", 9, qualname="hello"), route="GET /hello"),),
        requests=(Request("GET /hello", 3.0, 3.0, 20.0, None, "connection reset"),),
        events=(
            PodEvent(16.0, "Killing", "Container app failed liveness probe, will be restarted"),
            PodEvent(20.0, "Exited", "exit code 143", source="container"),
        ),
    )


def test_the_story_tells_stall_missed_probes_kill_and_exit_in_order() -> None:
    told = [(line.at, line.who, line.what, line.where) for line in measure.story(restarted(), [liveness(5)])]
    assert told == [
        (3.0, "GET /hello", "blocks the loop for 17.0 s", "app.py:9 hello"),
        (6.0, "liveness probe", "no answer in time", "1 of 3"),
        (11.0, "liveness probe", "no answer in time", "2 of 3"),
        (16.0, "liveness probe", "no answer in time", "3 of 3"),
        (16.0, "kubelet", "Container app failed liveness probe, will be restarted", "1 request in flight"),
        (20.0, "container", "exit code 143", ""),
    ]


def test_a_stall_of_the_machine_is_not_blamed_on_the_code() -> None:
    timeline = PodTimeline(5.0, stalls=(Stall(1.0, 2.0, blame="environment"),))
    assert measure.story(timeline)[0].what == "the loop stood still for 2.00 s, not by this code"


def test_two_arms_are_compared_trial_by_trial() -> None:
    quiet = PodTimeline(40.0, requests=(Request("GET /hello", 3.0, 3.0, 3.1, 200),))
    rows = {row.label: row for row in measure.comparison([[Trial("a", 1, restarted())], [Trial("b", 1, quiet)]])}
    gone = rows["restarts"].difference
    assert gone is not None and gone.value == -1 and gone.unit == "count"
    faster = rows["p50 latency"].difference
    assert faster is not None and faster.unit == "ratio" and faster.value == pytest.approx(170.0)
    assert rows["failed requests"].cells[0].value == 1 and rows["failed requests"].cells[0].total == 1
