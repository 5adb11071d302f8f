"""Which callback the loop is in: many short ones in one turn of the loop are a busy loop, not a stall."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

DEPTH = 200
LOOK_S, SHORT_S = 0.005, 0.03
"""How soon to look again; a callback that was not seen for the second may have been a short one."""


class Turns:
    """Looks at a loop's thread from another one, and says when it is in another callback than at the look before.

    Between two callbacks the loop was certainly not blocked, though it beats only once all that were ready have
    run. What a C library calls without a task, as uvloop's protocols do, has no identity and tells nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self._loop, self._thread = loop, thread
        self._last: Any = None
        self._since = 0.0
        self.at = self.seen_s = 0.0
        """When the loop was last seen to have moved on, and for how long the callback before had been seen."""

    def moved_on(self) -> bool:
        """True when the loop has been between two callbacks since the last look."""
        at, now = time.monotonic(), self._callback()
        if now is None or now is self._last:
            return False
        before, self._last = self._last, now
        self.at, self.seen_s, self._since = at, at - self._since, at
        return before is not None

    def moves_on(self, goes_on: Callable[[], bool], until: float) -> bool:
        """Look again and again until ``until``, or until the loop has shown itself; True when it has moved on."""
        self.forget()
        while goes_on():
            if self.moved_on():
                self.forget()
                return True
            rest = until - time.monotonic()
            if rest <= 0:
                return False  # what is known of the callback is of use in the stall
            time.sleep(min(LOOK_S, rest))
        self.forget()
        return False

    def was_short(self, until: float) -> bool:
        """True when the loop had moved on by ``until`` from a callback that nobody had seen for long."""
        return self.seen_s < SHORT_S and self.at < until

    def forget(self) -> None:
        """Keep nothing of the app alive."""
        self._last = None

    def _callback(self) -> Any:
        task = asyncio.current_task(self._loop)
        if task is not None:
            return task
        frame = sys._current_frames().get(self._thread)
        for _ in range(DEPTH):
            if frame is None:
                return None
            code = frame.f_code
            if code.co_name == "_run" and code.co_filename.endswith("asyncio/events.py"):
                return frame.f_locals.get("self")
            frame = frame.f_back
        return None
