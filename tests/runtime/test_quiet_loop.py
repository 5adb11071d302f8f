"""A loop with nothing to do beats less often, together with its server, and is as it was with the first request."""

from __future__ import annotations

import asyncio
import types
from typing import Any

import pytest

from unstall.runtime import mapping, observer
from unstall.runtime.beat import RIDE_S, Heart
from unstall.runtime.cause import Ledger
from unstall.runtime.mapping import Shared
from unstall.runtime.serving import look_at_server
from unstall.runtime.timing import PERIOD_S, QUIET_PERIOD_S, QUIET_S, overdue_at, stall_start


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose time is the test's; ``delays`` are those of its beats."""
    delays: list[float] = []
    clock = types.SimpleNamespace(monotonic=lambda: clock.now, thread_time=lambda: clock.cpu, now=1000.0, cpu=0.0)
    monkeypatch.setattr("unstall.runtime.beat.time", clock)

    def call_later(delay: float, call: Any) -> Any:
        delays.append(delay)
        return types.SimpleNamespace(cancel=lambda: None)

    loop = types.SimpleNamespace(call_later=call_later, is_running=lambda: True)
    made: Any = Heart(loop, Shared(), 0.1)  # type: ignore[arg-type]
    made.start()
    made.delays, made.clock = delays, clock
    yield made
    made.stop()


def beat(heart: Any, seconds: float, cpu_s: float = 0.0) -> None:
    """Let it beat when it asked to, for so long."""
    until = heart.clock.now + seconds
    while heart.clock.now < until:
        heart.clock.now += heart.delays[-1]
        heart.clock.cpu += cpu_s
        heart._tick()


def test_a_loop_with_nothing_to_do_beats_half_as_often_and_no_beat_is_a_stall(heart: Any) -> None:
    beat(heart, QUIET_S - 0.2)
    assert heart.cells[mapping.PERIOD] == PERIOD_S
    beat(heart, 5)
    assert (heart.cells[mapping.PERIOD], heart.delays[-1]) == (QUIET_PERIOD_S, QUIET_PERIOD_S)
    assert heart.cells[mapping.GAPS] == 0


def test_the_first_request_has_it_beat_as_before(heart: Any) -> None:
    beat(heart, QUIET_S + 1)
    heart.clock.now += 0.03
    assert heart.attends()
    assert (heart.cells[mapping.PERIOD], heart.cells[mapping.BEAT]) == (PERIOD_S, heart.clock.now)
    assert heart.delays[-1] == PERIOD_S
    assert [heart.attends() for _ in range(4)] == [True, True, True, False]  # it was the first of this beat


def test_a_loop_that_computes_without_any_request_is_not_quiet(heart: Any) -> None:
    beat(heart, QUIET_S * 2, cpu_s=0.003)
    assert heart.cells[mapping.PERIOD] == PERIOD_S


def test_a_threshold_too_short_for_beats_so_far_apart_keeps_them_close(heart: Any) -> None:
    heart.threshold_s = 0.06
    beat(heart, QUIET_S * 2)
    assert heart.cells[mapping.PERIOD] == PERIOD_S


def test_a_stall_of_a_quiet_loop_begins_in_the_middle_of_the_longer_beat(heart: Any) -> None:
    beat(heart, QUIET_S + 1)
    at = heart.clock.now
    heart.clock.now = at + 0.4
    heart._tick()
    (gap,) = heart.shared.gaps_since(0)[1]
    assert gap == pytest.approx((at + QUIET_PERIOD_S / 2, at + 0.4, 0.4 - QUIET_PERIOD_S))


def test_a_beat_due_about_when_the_server_wakes_waits_for_it(heart: Any) -> None:
    beat(heart, QUIET_S + 1)
    heart.clock.now += QUIET_PERIOD_S - RIDE_S / 2
    heart.ride()
    assert heart.cells[mapping.BEAT] == heart.clock.now
    assert heart.delays[-1] == pytest.approx(QUIET_PERIOD_S + RIDE_S)
    heart.clock.now += 0.03
    heart.ride()
    assert heart.cells[mapping.BEAT] == pytest.approx(heart.clock.now - 0.03)  # not due: nothing happens


def test_a_beat_of_a_busy_loop_waits_for_nobody(heart: Any) -> None:
    beat(heart, 1)
    heart.clock.now += PERIOD_S
    heart.ride()
    heart._left -= 1  # a request came
    heart.clock.now += PERIOD_S
    heart._tick()  # the server wakes the loop again when the next one is due
    assert heart.delays[-1] == PERIOD_S


def test_the_servers_own_tick_is_ridden_along_once_and_still_does_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        async def on_tick(self, counter: int) -> int:
            return counter + 1

        def handle_exit(self, number: int, frame: Any) -> None: ...

    server, rides = Server(), []
    monkeypatch.setattr("signal.getsignal", lambda number: server.handle_exit)
    cells = Shared().cells
    for _ in range(3):
        look_at_server(cells, lambda: rides.append(1))
    assert asyncio.run(server.on_tick(4)) == 5
    assert rides == [1]


def test_a_server_without_a_tick_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        __slots__ = ()

        def handle_exit(self, number: int, frame: Any) -> None: ...

    server = Server()
    monkeypatch.setattr("signal.getsignal", lambda number: server.handle_exit)
    look_at_server(Shared().cells, lambda: None)
    assert not hasattr(server, "on_tick")


class Accounts:
    """Books whose figures are the test's, and how often they were read."""

    def __init__(self) -> None:
        self.waited_s, self.reads = 0.0, 0

    def ran_and_waited(self) -> tuple[float, float]:
        self.reads += 1
        return 0.0, self.waited_s

    def throttled(self) -> float:
        return 0.0


def noting() -> tuple[Any, Accounts]:
    made: Any = observer.Observer.__new__(observer.Observer)
    accounts = Accounts()
    made.cells = Shared().cells
    made.ledger = Ledger(accounts)  # type: ignore[arg-type]
    made._books_at = made._hurried_until = made._lag_s = 0.0
    return made, accounts


def test_accounts_that_stand_still_are_noted_once_a_second() -> None:
    made, accounts = noting()
    for i in range(200):
        made._note(1000.0 + i * 0.1)
    assert 18 <= accounts.reads <= 22


def test_accounts_of_a_loop_that_waits_for_a_processor_are_noted_at_every_look() -> None:
    made, accounts = noting()
    for i in range(50):
        accounts.waited_s += 0.002
        made._note(1000.0 + i * 0.1)
    assert accounts.reads >= 39  # all but those of the first second


def test_a_late_beat_has_the_accounts_noted_at_once() -> None:
    made, accounts = noting()
    made._note(1000.0)
    made._note(1000.1)
    assert accounts.reads == 1
    made.cells[mapping.LAG_SUM] += 0.02
    made._note(1000.2)
    assert accounts.reads == 2
    assert made.ledger._base[0] == 1000.2


def test_a_beat_is_not_looked_into_before_it_is_due_however_far_apart_the_beats_are() -> None:
    for period_s in (PERIOD_S, QUIET_PERIOD_S):
        start = stall_start(0.0, 10.0, period_s)
        assert 10.0 + period_s < overdue_at(start, 10.0, period_s, 0.1) < start + 0.1


@pytest.mark.parametrize("threshold_s", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("period_s", [PERIOD_S, QUIET_PERIOD_S])
@pytest.mark.parametrize("sign", [0.0, 10.001], ids=["beat", "request"])
def test_a_beat_is_looked_into_once_it_is_late_and_before_a_stall_is_one(
    sign: float, period_s: float, threshold_s: float
) -> None:
    start = stall_start(sign, 10.0, period_s)
    assert min(10.0 + period_s + 0.01, start + threshold_s) <= overdue_at(start, 10.0, period_s, threshold_s)
    assert overdue_at(start, 10.0, period_s, threshold_s) <= start + threshold_s
