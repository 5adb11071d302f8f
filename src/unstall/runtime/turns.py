"""Which callback the loop is in: many short ones in one turn of the loop are a busy loop, not a stall."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

DEPTH = 200
LOOK_S = 0.005


class Turns:
    """Looks at a loop's thread from another one, and says when it is in another callback than at the look before.

    Between two callbacks the loop was certainly not blocked, though it beats only once all that were ready have
    run. What a C library calls without a task, as uvloop's protocols do, has no identity and tells nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self._loop, self._thread = loop, thread
        self._last: Any = None

    def moved_on(self) -> bool:
        """True when the loop has been between two callbacks since the last look."""
        now = self._callback()
        if now is None:
            return False
        before, self._last = self._last, now
        return before is not None and before is not now

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
