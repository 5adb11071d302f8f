"""What is looked at twice a second on the loop's own thread, where looking costs no wait for the interpreter."""

from __future__ import annotations

import logging
from collections.abc import Callable

from unstall.runtime.mapping import Shared
from unstall.runtime.serving import look_at_server
from unstall.runtime.thread_pool import ThreadPool

EVERY_S = 0.5


class Vitals:
    """The server's own words and the fullness of the thread pool.

    Another thread that wants to run while the loop is busy makes it give up the interpreter, again and again: so the
    sampler sleeps, and is called by ``call`` where there is more to see.
    """

    def __init__(self, shared: Shared, pool: ThreadPool, ride: Callable[[], None], call: Callable[[], None]) -> None:
        self._shared, self._pool, self._ride, self._call = shared, pool, ride, call
        self._at = 0.0

    def take(self, now: float) -> None:
        """Look, where it is time again. Never raises."""
        if now < self._at:
            return
        self._at = now + EVERY_S
        try:
            look_at_server(self._shared.cells, self._ride)
            if self._pool.count():
                self._call()
        except Exception:
            self._at = float("inf")
            logging.getLogger("unstall").warning("the server is not looked at any more", exc_info=True)
