"""The pool of threads that serves plain `def` endpoints: how full it is, and who holds its threads.

A full pool looks like a blocked loop from outside, and is none: the loop runs, and every call waits for one of forty
threads. It is counted on the loop, twice a second; the sampler's thread looks who holds it. Nothing is added to a request.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Container
from types import FrameType
from typing import Any

from unstall.runtime import mapping
from unstall.runtime.mapping import Shared

SAY_AGAIN_S = 60.0
_BACK_END = "anyio._backends._asyncio"
_WORKERS = "anyio/_backends/_asyncio.py"
FUNCTIONS = 50


class ThreadPool:
    """anyio's pool of one loop, once the app has loaded anyio; nothing before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared, own: Container[str]) -> None:
        self._loop, self._shared, self._own = loop, shared, own
        self._limiter: Any = None
        self._fetch: Any = None
        self._told_at = float("-inf")
        self._full_since = 0.0

    def count(self) -> bool:
        """Store how full it is; True where a look is due, because calls wait or no longer do."""
        limiter = self._limiter
        if limiter is None:
            return self._is_used() if self._fetch is None else bool(self._fetch.done())
        statistics, cells = limiter.statistics(), self._shared.cells
        used, total, waiting = statistics.borrowed_tokens, statistics.total_tokens, statistics.tasks_waiting
        cells[mapping.POOL_USED], cells[mapping.POOL_WAITING] = float(used), float(waiting)
        cells[mapping.POOL_TOTAL] = float(total)
        return bool(self._is_full() or self._full_since)

    def _is_full(self) -> bool:
        cells = self._shared.cells
        return cells[mapping.POOL_USED] >= cells[mapping.POOL_TOTAL] and cells[mapping.POOL_WAITING] > 0

    def look(self, now: float, after_s: float) -> dict[str, Any] | None:
        """See who holds it, where it is full; a record where it has been for ``after_s`` and that is worth saying now."""
        if self._limiter is None:
            self._find()
            return None
        cells = self._shared.cells
        if not self._is_full():
            self._full_since = cells[mapping.POOL_FULL_SINCE] = 0.0
            return None
        held = holders(self._own)
        self._shared.holders.write({function: count for (function, _), count in held.most_common(FUNCTIONS)})
        if not self._full_since:
            self._full_since = now
            cells[mapping.POOL_FULLS] += 1.0
            cells[mapping.POOL_FULL_SINCE] = now
        if now - self._full_since < after_s or now - self._told_at < SAY_AGAIN_S:
            return None
        self._told_at = now
        return {
            "full_s": round(now - self._full_since, 3),
            "used": int(cells[mapping.POOL_USED]),
            "total": int(cells[mapping.POOL_TOTAL]),
            "waiting": int(cells[mapping.POOL_WAITING]),
            "held_by": [{"function": f, "path": path, "threads": n} for (f, path), n in held.most_common(FUNCTIONS)],
        }

    @staticmethod
    def _is_used() -> bool:
        """The back end is loaded when the app first uses the pool; asking sooner would load it, on the loop."""
        return "anyio.to_thread" in sys.modules and _BACK_END in sys.modules

    def _find(self) -> None:
        """Ask for the loop's limiter, which only a task of the loop can be told."""
        if not self._is_used():
            return
        if self._fetch is None:
            module = sys.modules["anyio.to_thread"]

            async def fetch() -> Any:
                return module.current_default_thread_limiter()

            self._fetch = asyncio.run_coroutine_threadsafe(fetch(), self._loop)
        elif self._fetch.done():
            if not self._fetch.cancelled() and self._fetch.exception() is None:
                self._limiter = self._fetch.result()
            self._fetch = None


def holders(own: Container[str]) -> Counter[tuple[str, str]]:
    """Function and file of what each busy thread of the pool was given to do, counted.

    The application's own outermost function stands for a thread, else the outermost there is.
    """
    found: Counter[tuple[str, str]] = Counter()
    for frame in list(sys._current_frames().values()):
        called = _called(frame, own)
        if called is not None:
            found[called] += 1
    return found


def _called(frame: FrameType | None, own: Container[str]) -> tuple[str, str] | None:
    outermost: FrameType | None = None
    mine: FrameType | None = None
    while frame is not None:
        code = frame.f_code
        if code.co_name == "run" and code.co_filename.endswith(_WORKERS):
            if outermost is None or outermost.f_code.co_filename.endswith(("queue.py", "threading.py")):
                return None  # it waits for work
            shown = (mine or outermost).f_code
            return shown.co_qualname, shown.co_filename
        outermost = frame
        if code.co_filename in own:
            mine = frame
        frame = frame.f_back
    return None


def sentence(record: dict[str, Any]) -> str:
    """A full pool in one line: how full, who waits, who holds it."""
    names = ", ".join(f"{held['function']} ({held['threads']})" for held in record["held_by"][:5])
    return (
        f"thread pool full {record['full_s']:.1f} s  {record['used']} of {record['total']} threads taken, "
        f"{record['waiting']} waiting  held by {names or 'threads that cannot be seen'}"
    )
