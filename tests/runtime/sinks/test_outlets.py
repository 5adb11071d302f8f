"""Sinks that are slow, raise, or want more than finished stalls."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import prometheus_client
from tests.runtime.conftest import wait_for

from unstall.runtime.mapping import Shared
from unstall.runtime.sinks import outlets
from unstall.runtime.sinks.outlets import Outlets, Sighting, Source
from unstall.runtime.sinks.prometheus import PrometheusSink

RECORD = {"route": "GET /a", "duration_s": 0.3, "cause": {"syscall_s": 0.3}, "rule": None, "blame": "code"}


def opened(*sinks: Any) -> tuple[Outlets, list[str]]:
    said: list[str] = []
    return Outlets(sinks, Source(Shared(), {"GET /a"}), lambda text, *args, **_: said.append(text % args)), said


def test_a_slow_sink_delays_nobody_and_drops_what_is_too_much(monkeypatch: Any) -> None:
    monkeypatch.setattr(outlets, "WAITING", 5)
    release, told = threading.Event(), []

    def slow(record: dict[str, Any]) -> None:
        release.wait(60)
        told.append(record)

    made, _ = opened(slow)
    for _ in range(100):
        made.stall(RECORD)
    release.set()
    wait_for(lambda: len(told) >= 5, 60, lambda: str(len(told)))
    assert len(told) <= 6


def test_a_sink_that_raises_while_a_stall_lasts_is_off_too() -> None:
    class Raising:
        def __call__(self, record: dict[str, Any]) -> None:
            raise AssertionError("not after it is off")

        def during(self, sighting: Sighting) -> None:
            raise OSError("no")

    made, said = opened(Raising())
    assert made.watches_stalls
    for _ in range(3):
        made.during(Sighting(RECORD, None, True))
    made.stall(RECORD)
    assert said == ["the sink Raising raised and is off from now on"]
    assert not made.watches_stalls


def test_beats_are_handed_on_to_those_who_want_them() -> None:
    class Counting:
        def __init__(self) -> None:
            self.lags: list[float] = []

        def __call__(self, record: dict[str, Any]) -> None:
            return

        def beats(self, lags: list[float]) -> None:
            self.lags += lags

    counting = Counting()
    made, _ = opened(counting, print)
    lags = made.lags
    assert lags is not None
    lags.extend([0.1, 0.2])
    made.beats(lags)
    wait_for(lambda: counting.lags == [0.1, 0.2], 60, lambda: str(counting.lags))
    assert not lags
    assert opened(print)[0].lags is None
    assert deque() == lags


def test_a_second_watch_does_not_register_the_same_names_again() -> None:
    registry = prometheus_client.CollectorRegistry()
    for _ in range(2):
        sink = PrometheusSink(registry)
        sink.bind(Source(Shared(), {"GET /a"}))
        sink(RECORD)
        sink({**RECORD, "route": "GET /users/4711"})
    labels = {"route": "GET /a", "cause": "syscall", "rule": "none"}
    assert registry.get_sample_value("unstall_stalls_total", labels) == 2
    assert registry.get_sample_value("unstall_stalls_total", {**labels, "route": "other"}) == 2
