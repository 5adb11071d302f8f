"""Requests in rows: waiting is a staircase, and each request's own time is told from its waiting."""

from __future__ import annotations

from itertools import pairwise

import samples
from hypothesis import given
from hypothesis import strategies as st

from unstall.model import PodTimeline, Request
from unstall.report.packing import in_flight, owners, pack


def test_five_requests_behind_each_other_form_a_staircase() -> None:
    packed = pack(samples.blocked(3.0, health_s=0), 0.02)
    served = sorted((bar.row, bar.from_s, bar.to_s) for bar in packed.bars if bar.status == "served")
    assert packed.rows == 5
    assert [row for row, _, _ in served] == [0, 1, 2, 3, 4]
    assert [round(from_s) for _, from_s, _ in served] == [1, 4, 7, 10, 13]
    waiting = [bar for bar in packed.bars if bar.status == "waiting"]
    assert sorted(round(bar.to_s - bar.from_s) for bar in waiting) == [3, 6, 9, 12]


def test_each_stall_belongs_to_the_request_that_was_answered_after_it() -> None:
    timeline = samples.blocked(3.0)
    requests = sorted(timeline.requests, key=lambda r: (r.due_at, r.answered_at))
    found = owners(timeline.stalls, requests)
    assert [round(requests[found[i]].answered_at) for i in range(5)] == [4, 7, 10, 13, 16]
    assert all(requests[owner].route == "GET /hello" for owner in found.values())


def test_health_requests_only_wait_while_the_loop_is_blocked() -> None:
    timeline = samples.blocked(3.0)
    bars = pack(timeline, 0.02).bars
    before = [bar for bar in bars if bar.to_s < 0.99]
    assert before and {bar.status for bar in before} == {"served"}
    assert sum(bar.status == "waiting" for bar in bars) > 50


def test_awaited_requests_wait_for_nobody() -> None:
    assert {bar.status for bar in pack(samples.awaited(3.0), 0.02).bars} == {"served"}


def test_a_failed_request_is_one_bar_whatever_it_waited_for() -> None:
    bars = [bar for bar in pack(samples.probed_blocked(), 0.02).bars if bar.status == "failed"]
    assert len(bars) == 2
    assert all(bar.last for bar in bars)


def test_an_answer_of_500_counts_as_failed() -> None:
    timeline = PodTimeline(2.0, requests=(Request("GET /", 0.5, 0.5, 1.0, 503),))
    assert [bar.status for bar in pack(timeline, 0.01).bars] == ["failed"]


times = st.floats(0, 100, allow_nan=False)


@given(
    st.lists(st.tuples(times, st.floats(0, 20)), max_size=60), st.lists(st.tuples(times, st.floats(0.1, 9)), max_size=8)
)
def test_bars_of_a_row_never_overlap_and_no_time_of_a_request_is_lost(
    sent: list[tuple[float, float]], blocked: list[tuple[float, float]]
) -> None:
    requests = tuple(Request("GET /hello", due, due, due + took, 200) for due, took in sent)
    stalls = tuple(samples.stall(at, length) for at, length in blocked)
    packed = pack(PodTimeline(130.0, stalls=stalls, requests=requests), 0.05)
    rows: dict[int, list[tuple[float, float]]] = {}
    for bar in packed.bars:
        rows.setdefault(bar.row, []).append((bar.from_s, bar.to_s))
    for bars in rows.values():
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(sorted(bars)))
    drawn = sum(bar.to_s - bar.from_s for bar in packed.bars)
    assert abs(drawn - sum(r.answered_at - r.due_at for r in requests)) < 1e-6
    most = max((in_flight(requests, r.due_at) for r in requests), default=0)
    assert packed.rows >= most
