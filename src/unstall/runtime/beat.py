"""The heartbeat on the loop: what it stores is all that others need to see a stall while it lasts.

Theory. A *sign* is a moment at which the loop was certainly between two callbacks. The tick gives one every
`PERIOD_S`, half as often while there is nothing to do; the ASGI wrapper gives one where a request enters or leaves, so that twenty short requests in one
turn of the loop are a busy loop and not a stall, and so that a request which blocks at once is timed exactly.
A stall is a gap between two signs. After a request's sign it starts there; after a tick it started at an
unknown point before the next tick was due, and the middle is taken: the error is at most half a period.

Under load that would be paid by thousands of requests a second, for a start known to 50 ms anyway. So each beat
attends to its first requests only, under lasting load to none; the others go by (`asgi.calm`). What they would have
told is asked for when it is needed: once a beat is late all are attended to until the next, so that a busy turn
shows its signs. Where requests make tasks of their own, which know their request by its context only, all still
leave that mark.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would make an enum of each answer
import asyncio
import contextlib
import gc
import threading
import time
from collections import deque
from typing import Any

from unstall.runtime.mapping import (
    BEAT,
    CALM,
    CPU,
    GC,
    PERIOD,
    READY,
    RUNNING,
    SIGN,
    SIGNAL,
    STARTING,
    STATE,
    STOPPED,
    THREAD,
    Shared,
)
from unstall.runtime.timing import (
    LATE_S,
    PERIOD_S,
    QUIET_CPU_S,
    QUIET_FROM_S,
    QUIET_PERIOD_S,
    QUIET_S,
    stall_start,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ATTENDED = 4
"""How many requests each beat attends to: all of them up to 80 a second. Where there are more for long, it only sees
that one came."""
LONG, COUNT_EVERY = 24, 8
"""How many beats in a row are long, and which of those after them attend to more: they see whether there still are as many."""
RIDE_EVERY_S, RIDE_S = 0.1, 0.012
"""How often the server itself wakes the loop, and how much sooner or later than due a beat may come for that."""
_monotonic = time.monotonic


class Heart:
    """Beats on one loop and stores when; all its methods but `stopped` and `passed` are called on that loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shared: Shared,
        threshold_s: float,
        calm: Callable[[bool], None] = lambda now: None,
    ) -> None:
        self.loop = loop
        self.calm = calm
        self.vitals: Callable[[float], None] = lambda now: None
        """What else is looked at on the loop's thread, told the time of each beat."""
        self.marks_all = False
        """Whether every request leaves its mark in its context."""
        self._left = self._budget = ATTENDED
        self._roused = self._loaded = False
        self._full = 0
        """How many beats in a row had more requests than they attended to."""
        self.shared = shared
        self.cells = shared.cells
        self.threshold_s = threshold_s
        self.thread = threading.get_ident()
        self.started_at = self.sign_at = time.monotonic()
        self.lags: deque[float] | None = None
        """How late each beat was, for a sink that asks for it."""
        self._gc_started = 0.0
        self._period_s = PERIOD_S
        self._busy_at = self.started_at
        """When the loop last had something to do."""
        self._worked = False
        """Whether the loop computed for long before the last beat."""
        self._rode_at = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._closing: Any = None

    def start(self) -> None:
        """Begin to beat; called on the loop."""
        now = time.monotonic()
        self.cells[SIGN] = self.cells[BEAT] = self.sign_at = now
        self.cells[PERIOD] = PERIOD_S
        self.cells[CPU] = time.thread_time()
        self.cells[THREAD] = float(threading.get_native_id())
        self.cells[STATE] = STARTING
        self._handle = self.loop.call_later(PERIOD_S, self._tick)
        gc.callbacks.append(self._collected)
        self._see_the_end()

    def stop(self) -> None:
        """Stop beating: the app has shut down. What follows is no stall."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self.cells[STATE] != STOPPED:
            self.calm(False)
            self.sign()
            self.cells[STATE] = STOPPED
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def disown(self) -> None:
        """In a forked child, after what was shared: beats go nowhere."""
        self.cells = self.shared.cells
        self._handle = None

    @property
    def stopped(self) -> bool:
        """True when the app has shut down or its loop no longer runs."""
        return self.cells[STATE] == STOPPED or not self.loop.is_running()

    def ready(self) -> None:
        """Start-up is complete."""
        self.cells[READY] = time.monotonic() - self.started_at
        self.cells[STATE] = RUNNING

    def attends(self) -> bool:
        """Whether to attend to this request; the last one that is leaves the others of this beat in peace."""
        self._left -= 1
        if self._period_s != PERIOD_S:
            self._quicken()
        if self._left == 0:
            if self.sign_at - self.cells[BEAT] >= self._period_s + LATE_S:
                self._roused = True  # the beat is late: to go back to it would make one stall of all since then
            self.cells[CALM] = 1.0
            if not self.marks_all and not self._roused:
                self.unsign()
                self.calm(True)
        return (self._left >= 0 and not self._loaded) or self._roused

    def rouse(self) -> None:
        """Attend to all requests until the next beat; called on any thread."""
        self._roused = True
        self.calm(False)

    def mark_all(self) -> None:
        """From now on; called on any thread."""
        self.marks_all = True
        self.calm(False)

    def sign(self) -> None:
        """Note that the loop is between two callbacks; twice a request, so the last one is not read back."""
        now = _monotonic()
        if now - self.sign_at >= self.threshold_s:
            self._close(self.sign_at, self.cells[BEAT], now)
        self.cells[SIGN] = self.sign_at = now

    def unsign(self) -> None:
        """No more requests are attended to before the next beat: a sign before the middle says less than the middle.

        Not where the beat is late: what began with that sign may be a stall.
        """
        beat, period_s = self.cells[BEAT], self._period_s
        if self.sign_at < beat + period_s / 2 and _monotonic() < beat + period_s:
            self.cells[SIGN] = self.sign_at = beat

    def passed(self, now: float, in_vain: bool = False) -> None:
        """Another thread saw the loop between two callbacks: as good a sign as any.

        ``in_vain``: what was before was no stall either, though it took that long.
        """
        if now - self.sign_at >= self.threshold_s and not in_vain:
            self._close(self.sign_at, self.cells[BEAT], now)
        self.cells[SIGN] = self.sign_at = now

    def ride(self) -> None:
        """The loop is awake for something else: beat where that is due anyway. Never raises, on whatever loop it is called."""
        if threading.get_ident() != self.thread:
            return
        self._rode_at = now = time.monotonic()
        if self._handle is not None and now - self.cells[BEAT] >= self._period_s - RIDE_S:
            self._handle.cancel()
            self._tick()

    def _quicken(self) -> None:
        """There is something to do again."""
        self._busy_at = time.monotonic()
        if self._handle is not None:
            left = self._left
            self._handle.cancel()
            self._tick()
            self._left = left

    def _tick(self) -> None:
        now, cpu = time.monotonic(), time.thread_time()
        cells, period_s = self.cells, self._period_s
        if now - self.sign_at >= self.threshold_s:
            self._close(self.sign_at, cells[BEAT], now)
        late_s = now - cells[BEAT] - period_s
        worked, self._worked = self._worked, cpu - cells[CPU] >= QUIET_CPU_S
        # A single such beat is the processor's doing: one that slept deeply is slow to begin with.
        if self._left != self._budget or late_s >= 2 * LATE_S or (worked and self._worked):
            self._busy_at = now
        if self._left > 0:
            cells[CALM] = 0.0
            self._full = 0
        else:
            self._full += 1
        self._loaded = self._full >= LONG and self._full % COUNT_EVERY > 0
        self._left = self._budget = 1 if self._loaded else ATTENDED
        self._roused = False
        self.calm(False)
        self.shared.add_lag(late_s)
        if self.lags is not None:
            self.lags.append(late_s)
        quiet = now - self._busy_at >= QUIET_S and self.threshold_s >= QUIET_FROM_S
        self._period_s = next_s = QUIET_PERIOD_S if quiet else PERIOD_S
        # In this order whoever reads in between takes the stall's start for later than it is, never for earlier.
        if next_s > period_s:
            cells[PERIOD] = next_s
        cells[CPU] = cpu
        cells[SIGN] = self.sign_at = now
        cells[BEAT] = now
        cells[PERIOD] = next_s
        if cells[SIGNAL] and _signal.getsignal(int(cells[SIGNAL])) != _signal.SIG_DFL:
            cells[SIGNAL] = 0.0  # the app handles this signal itself now: never send it again
        if quiet and abs(self._rode_at + RIDE_EVERY_S - now - next_s) < RIDE_S:
            # The loop will be awake by then: one waking up does for both. A loop that has something to do is awake
            # anyway, and a beat that waits would be taken for a late one.
            next_s += RIDE_S
        self._handle = self.loop.call_later(next_s, self._tick)
        self.vitals(now)

    def _close(self, sign: float, beat: float, now: float) -> None:
        start = stall_start(sign, beat, self._period_s)
        if now - start >= self.threshold_s:
            self.shared.add_gap(start, now, now - beat - self._period_s)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        """Garbage collections on the loop's thread count as a cause of their own; the young ones take no time."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._gc_started = time.monotonic() if threading.get_ident() == self.thread else 0.0
        elif self._gc_started:
            self.cells[GC] += time.monotonic() - self._gc_started
            self._gc_started = 0.0

    def _see_the_end(self) -> None:
        """Be told when the loop is shut down: a started asynchronous generator is closed by then.

        A task would do as well, but people wait for all tasks at shutdown and would wait for ours.
        """

        async def until_closed() -> Any:
            try:
                yield
            finally:
                self.stop()

        self._closing = until_closed()
        step = self._closing.__anext__()
        with contextlib.suppress(StopIteration):
            step.send(None)
