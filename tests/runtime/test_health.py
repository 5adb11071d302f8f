"""What a probe is told, on mappings of our own making and a clock that is an argument."""

from __future__ import annotations

from typing import Any

import pytest

from unstall.runtime import health, mapping
from unstall.runtime.health import Limits, Worker

LIMITS = Limits(dead_after_s=60.0, busy_after_s=2.0)
NOW = 1000.0


def worker(number: int = 0, last_sign: float = NOW, **cells: float) -> Worker:
    """A worker that is well unless told otherwise; ``last_sign`` is when its loop last gave one."""
    made = Worker(mapping.Shared(), 100 + number, number)
    made.cells[mapping.SIGN] = made.cells[mapping.BEAT] = last_sign
    made.cells[mapping.PERIOD] = 0.05
    made.cells[mapping.READY], made.cells[mapping.STATE] = 1.5, mapping.RUNNING
    for name, value in cells.items():
        made.cells[getattr(mapping, name.upper())] = value
    return made


def live(*workers: Worker, awake_since: float = 0.0) -> tuple[bool, dict[str, Any]]:
    return health.live(workers, LIMITS, NOW, awake_since)


def ready(*workers: Worker, awake_since: float = 0.0, was_started: bool = True) -> tuple[bool, dict[str, Any]]:
    return health.ready(workers, LIMITS, NOW, awake_since, was_started)


def test_a_loop_that_beats_is_alive_and_ready() -> None:
    assert live(worker()) == (True, {"status": "alive", "workers": 1})
    assert ready(worker()) == (True, {"status": "ready", "workers": 1})


def test_a_loop_that_is_busy_for_long_is_alive_but_not_ready() -> None:
    busy = worker(last_sign=NOW - 25)
    assert live(busy)[0]
    passed, body = ready(busy)
    assert not passed
    assert (body["reason"], body["pid"], body["limit_s"]) == ("event loop blocked", 100, 2.0)
    assert body["for_s"] == pytest.approx(25, abs=0.1)


def test_a_loop_that_gives_no_sign_for_a_minute_is_dead() -> None:
    assert live(worker(last_sign=NOW - 59.9))[0]
    passed, body = live(worker(last_sign=NOW - 60.1))
    assert not passed
    assert body == {
        "status": "dead", "reason": "no sign of the event loop", "pid": 100, "for_s": 60.1, "limit_s": 60.0
    }  # fmt: skip


def test_a_request_that_came_in_is_a_sign_of_life_though_the_beat_is_late() -> None:
    assert live(worker(last_sign=NOW - 90, sign=NOW - 1))[0]


def test_a_blocked_loop_is_ready_until_it_was_busy_for_two_seconds() -> None:
    assert ready(worker(last_sign=NOW - 1.9))[0]
    assert not ready(worker(last_sign=NOW - 2.1))[0]


def test_requests_that_block_one_after_the_other_are_one_block_for_who_waits() -> None:
    passed, body = ready(worker(last_sign=NOW - 7, sign=NOW - 1))
    assert (passed, body["reason"], body["for_s"]) == (False, "event loop blocked", 6.95)


def test_time_in_which_the_observer_was_frozen_too_is_held_against_nobody() -> None:
    suspended = worker(last_sign=NOW - 3600)
    assert not live(suspended)[0]
    assert live(suspended, awake_since=NOW - 1)[0]
    assert ready(suspended, awake_since=NOW - 1)[0]
    assert not ready(suspended, awake_since=NOW - 3)[0]


def test_a_process_that_is_gone_is_dead_at_once() -> None:
    gone = worker()
    gone.gone = True
    assert live(gone) == (False, {"status": "dead", "reason": "the process is gone", "pid": 100})
    assert not ready(gone)[0]


def test_before_start_up_is_complete_the_pod_is_alive_but_neither_started_nor_ready() -> None:
    starting = worker(ready=0.0, state=mapping.STARTING)
    assert live(starting)[0]
    assert health.started([starting], LIMITS)[1]["reason"] == "start-up is not complete"
    assert ready(starting, was_started=False)[1]["status"] == "starting"


def test_start_up_is_not_complete_before_the_server_accepts_connections() -> None:
    assert not health.started([worker(serving=mapping.NOT_YET)], LIMITS)[0]
    assert health.started([worker(serving=mapping.ACCEPTING)], LIMITS)[0]
    assert health.started([worker(serving=mapping.UNKNOWN)], LIMITS)[0]


def test_a_pod_that_shuts_down_is_not_ready_but_alive() -> None:
    for leaving in (worker(leaving=1.0), worker(state=mapping.STOPPED)):
        assert ready(leaving) == (False, {"status": "not ready", "reason": "shutting down", "pid": 100})
        assert live(leaving)[0]


def test_the_worst_worker_speaks_for_the_pod_and_is_named() -> None:
    workers = [worker(1), worker(2, last_sign=NOW - 70), worker(3, last_sign=NOW - 5)]
    assert live(*workers)[1] | {"for_s": 0} == {
        "status": "dead", "reason": "no sign of the event loop", "worker": 2, "pid": 102, "for_s": 0, "limit_s": 60.0
    }  # fmt: skip
    assert ready(*workers)[1]["worker"] == 2
    assert live(workers[0], workers[2])[1]["worker"] == 3


def test_a_pod_is_started_when_as_many_workers_as_were_asked_for_are() -> None:
    limits = Limits(60.0, 2.0, expected=2)
    missing = health.started([worker(1)], limits)
    assert missing == (False, {"status": "starting", "reason": "workers are missing", "workers": 1, "expected": 2})
    assert health.started([worker(1), worker(2)], limits)[0]


def test_a_worker_that_is_being_replaced_takes_no_started_pod_out_of_service() -> None:
    replaced = worker(2, ready=0.0, state=mapping.STARTING)
    assert ready(worker(1), replaced)[0]
    assert ready(worker(1), worker(2, leaving=1.0))[0]
    assert not ready(replaced)[0]
    assert not ready(worker(1), replaced, was_started=False)[0]


def test_a_full_thread_pool_is_told_apart_from_a_blocked_loop_and_by_whom_it_is_held() -> None:
    full = worker(pool_used=40, pool_total=40, pool_waiting=3, pool_full_since=NOW - 5)
    full.shared.holders.write({"render": 38, "parse": 2})
    passed, body = ready(full)
    assert not passed
    assert body == {
        "status": "not ready", "reason": "thread pool full", "pid": 100, "for_s": 5.0, "limit_s": 2.0,
        "used": 40, "total": 40, "waiting": 3, "held_by": {"render": 38, "parse": 2},
    }  # fmt: skip
    assert live(full) == (True, {"status": "alive", "workers": 1})
    full.cells[mapping.SIGN] = full.cells[mapping.BEAT] = NOW - 3
    assert ready(full)[1]["reason"] == "event loop blocked"


def test_a_pool_that_was_full_for_a_moment_only_is_no_reason() -> None:
    assert ready(worker(pool_full_since=NOW - 1.5))[0]
