"""The request of a callback on uvloop, which shows no handle of what it runs.

A handle keeps the context that its callback runs in, and a context that is being run cannot be entered again:
that is how the one is told from the many. The attempt runs nothing but a function written in C, so no other
thread can come in between and meet a context that is taken. Where there is no lock around the interpreter that
is not so, and nothing is tried.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from typing import Any

from unstall.runtime.naming import route_of
from unstall.runtime.sample import CURRENT

OBJECTS = 3_000_000
"""Above this many objects the search would itself take too long."""


def contexts_being_run() -> list[contextvars.Context]:
    """The contexts of the uvloop callbacks that run now; empty where that cannot be told."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or sys.implementation.name != "cpython":
        return []
    objects = gc.get_objects()
    if len(objects) > OBJECTS:
        return []
    handles = [o for o in objects if type(o).__name__ in _HANDLES and type(o).__module__ == "uvloop.loop"]
    del objects
    return [c for handle in handles for c in gc.get_referents(handle) if _is_run(c)]


class Callbacks:
    """Says whose callback the loop is in, for the stall that began at ``start``; searches once for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        self._told: tuple[float, str | None, str | None] = (0.0, None, None)

    def request(self, start: float) -> tuple[str | None, str | None]:
        """The request and how it was proved; None where there is none or more than one."""
        if not self._uvloop:
            return None, None
        if self._told[0] != start:
            scopes = [context.get(CURRENT) for context in contexts_being_run()]
            found = {id(scope): route_of(scope) for scope in scopes if scope is not None}
            self._told = (start, *((found.popitem()[1], "callback") if len(found) == 1 else (None, None)))
        return self._told[1:]


_HANDLES = frozenset({"Handle", "TimerHandle"})


def _is_run(context: Any) -> bool:
    if not isinstance(context, contextvars.Context):
        return False
    try:
        context.run(callable, None)
    except RuntimeError:
        return True
    return False
