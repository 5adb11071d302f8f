"""The heartbeat on the loop: what it stores is all that others need to see a stall while it lasts.

Theory. A *sign* is a moment at which the loop was certainly between two callbacks. The tick gives one every
`PERIOD_S`; the ASGI wrapper gives one where a request enters or leaves, so that twenty short requests in one
turn of the loop are a busy loop and not a stall, and so that a request which blocks at once is timed exactly.
A stall is a gap between two signs. After a request's sign it starts there; after a tick it started at an
unknown point before the next tick was due, and the middle is taken: the error is at most half a period.
"""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from collections.abc import MutableSequence
from typing import NamedTuple

PERIOD_S = 0.02

# Cells of the shared mapping, eight-byte floats; see mapping.py for the rest of it.
SIGN, BEAT, CPU, STATE, BEATS, READY, THREAD = range(7)
CELLS = 16

# Values of the STATE cell.
IDLE, STARTING, RUNNING, STOPPED = 0.0, 1.0, 2.0, 3.0


class Gap(NamedTuple):
    """A stall that is over: monotonic start and end, and how late the tick was by then, in seconds."""

    start: float
    end: float
    late_s: float


def stall_start(sign: float, beat: float) -> float:
    """When a stall that is going on began, given the last sign and the last tick."""
    return sign if sign > beat else beat + PERIOD_S / 2


class Heart:
    """Beats on one loop and stores when; all its methods but `start` are called on that loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, cells: MutableSequence[float], threshold_s: float) -> None:
        self.loop = loop
        self.cells = cells
        self.threshold_s = threshold_s
        self.thread = threading.get_ident()
        self.native_thread = threading.get_native_id()
        self.gaps: collections.deque[Gap] = collections.deque(maxlen=256)
        self.started_at = time.monotonic()
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat; called on the loop."""
        now = time.monotonic()
        self.cells[SIGN] = self.cells[BEAT] = now
        self.cells[CPU] = time.thread_time()
        self.cells[THREAD] = float(self.native_thread)
        self.cells[STATE] = STARTING
        self._handle = self.loop.call_later(PERIOD_S, self._tick)

    def stop(self) -> None:
        """Stop beating: the app has shut down. What follows is no stall."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self.cells[STATE] != STOPPED:
            self.sign()
            self.cells[STATE] = STOPPED

    @property
    def stopped(self) -> bool:
        """True when the app has shut down or its loop no longer runs."""
        return self.cells[STATE] == STOPPED or not self.loop.is_running()

    def ready(self) -> None:
        """Start-up is complete."""
        self.cells[READY] = time.monotonic() - self.started_at
        self.cells[STATE] = RUNNING

    def sign(self) -> float:
        """Note that the loop is between two callbacks; the time."""
        now = time.monotonic()
        cells = self.cells
        sign = cells[SIGN]
        if now - sign >= self.threshold_s:
            self._close(sign, cells[BEAT], now)
        cells[SIGN] = now
        return now

    def _tick(self) -> None:
        now = time.monotonic()
        cells = self.cells
        sign = cells[SIGN]
        if now - sign >= self.threshold_s:
            self._close(sign, cells[BEAT], now)
        cells[CPU] = time.thread_time()
        cells[SIGN] = now
        cells[BEAT] = now
        cells[BEATS] += 1.0
        self._handle = self.loop.call_later(PERIOD_S, self._tick)

    def _close(self, sign: float, beat: float, now: float) -> None:
        start = stall_start(sign, beat)
        if now - start >= self.threshold_s:
            self.gaps.append(Gap(start, now, now - beat - PERIOD_S))
