"""One moment of the run: who stood where."""

from __future__ import annotations

import samples

from unstall.model import PodTimeline
from unstall.report.handover import moment_of


def test_in_a_block_the_requests_sent_before_it_are_queued_and_the_later_ones_are_in_the_socket() -> None:
    moment = moment_of(samples.blocked(3.0))
    assert moment is not None and moment.stall is not None
    assert round(moment.stall.started_at) == 13
    assert [(c.label, c.number) for c in moment.queue] == [("GET /health", 48)]
    assert [c.label for c in moment.socket] == ["GET /health"]
    assert moment.waiting == moment.queue[0].number + moment.socket[0].number


def test_a_probe_that_asked_a_blocked_loop_stands_in_the_socket() -> None:
    moment = moment_of(samples.probed_blocked())
    assert moment is not None and moment.stall is not None
    assert [(c.label, c.number) for c in moment.queue] == [("GET /hello", 4)]
    assert [(c.label, c.number, c.missed) for c in moment.socket] == [("liveness probe", 1, True)]
    assert moment.answered == 0


def test_a_free_loop_has_its_requests_parked() -> None:
    moment = moment_of(samples.probed_awaited())
    assert moment is not None and moment.stall is None
    assert [(c.label, c.number) for c in moment.parked] == [("GET /hello", 5)]
    assert moment.queue == moment.socket == ()


def test_nothing_in_flight_is_no_moment() -> None:
    assert moment_of(PodTimeline(5.0)) is None
    assert moment_of(samples.never_started()) is None
