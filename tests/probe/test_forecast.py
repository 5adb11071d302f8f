"""What is stated of a setting holds for a time it was not chosen on."""

from __future__ import annotations

import importlib.util
import math
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from unstall.kubelet import odds
from unstall.kubelet.spec import PodSpec
from unstall.model import HttpGet, ProbeSpec, ProbeType, TcpSocket
from unstall.probe.forecast import History, forecasts, held_out, interval, suggest, with_liveness


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script that prints the figures of the documentation."""
    path = Path(__file__).parents[2] / "bench" / "bench_probe.py"
    spec = importlib.util.spec_from_file_location("bench_probe", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_probe"] = module
    spec.loader.exec_module(module)
    return module


def assert_it_holds(bench: Any, count: int) -> None:
    rows = [one for case in islice(bench.histories(), count) for one in bench.judge(case)]
    assert sum(one.covered for one in rows) >= bench.COVERED * len(rows)
    assert any(one.suggested for one in rows) and sum(one.seen for one in rows) > count
    for one in rows:
        assert (one.found, one.late_s <= 0) == (bench.DEATHS, True), one


def test_chosen_on_the_first_half_it_holds_for_the_second_of_25_histories(bench: Any) -> None:
    assert_it_holds(bench, 25)


@pytest.mark.soak
def test_chosen_on_the_first_half_it_holds_for_the_second_of_200_histories(bench: Any) -> None:
    assert_it_holds(bench, 200)


def pod(handler: Any = None, **fields: Any) -> PodSpec:
    return PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, handler or HttpGet(8000), **fields),))


def test_the_suggestion_survives_the_longest_stall_with_room_and_no_other_finds_a_dead_pod_sooner() -> None:
    spec = pod()
    chosen = suggest(spec, History((25.0, 40.0)))
    assert chosen is not None
    assert odds.longest_survived_s(with_liveness(spec, chosen)) >= 40.0 * 1.2
    assert odds.found_within_s(with_liveness(spec, chosen)) == 61.0


@pytest.mark.parametrize(
    ("spec", "lengths"),
    [(pod(), (20.0,)), (pod(), ()), (pod(TcpSocket(1)), (90.0,)), (PodSpec(), (90.0,)), (pod(), (86400.0,))],
)
def test_nothing_is_suggested_where_nothing_would_help(spec: PodSpec, lengths: tuple[float, ...]) -> None:
    assert suggest(spec, History(lengths)) is None


def test_without_the_time_watched_there_are_odds_and_no_rates() -> None:
    for row in forecasts(pod(), History((25.0,))):
        assert row.restarts_per_day is None and row.unready is None
        assert 0.0 <= row.per_stall <= 1.0


def test_the_interval_of_nothing_seen_still_allows_for_bad_luck() -> None:
    low, high = interval(0.0)
    assert low == 0.0 and 1.0 <= high <= 6.0


def test_a_pod_without_a_liveness_probe_has_no_table_and_a_tcp_probe_finds_nothing() -> None:
    assert forecasts(PodSpec(), History((25.0,), 86400.0)) == []
    assert all(math.isinf(row.found_within_s) for row in forecasts(pod(TcpSocket(1)), History((25.0,), 86400.0)))


def test_the_second_half_of_a_record_judges_what_the_first_would_have_chosen() -> None:
    calm = held_out(pod(), History((25.0,) * 8))
    assert calm is not None
    assert (calm.probe is not None, calm.per_stall) == (True, 0.0)
    growing = held_out(pod(), History((25.0,) * 4 + (60.0,) * 4))
    assert growing is not None and growing.per_stall == 1.0
    assert held_out(pod(), History((25.0,) * 7)) is None
    assert held_out(pod(), History((5.0,) * 8)) is None
