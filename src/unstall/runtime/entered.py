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
from collections.abc import Iterator
from typing import Any

from unstall.runtime.naming import route_of
from unstall.runtime.sample import CURRENT

OBJECTS = 3_000_000
"""Above this many objects the search would itself take too long."""


def contexts_being_run(loop: asyncio.AbstractEventLoop) -> Iterator[contextvars.Context]:
    """The contexts of the uvloop callbacks that run now, of young handles first; none where that cannot be told."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or sys.implementation.name != "cpython":
        return
    module = sys.modules.get("uvloop.loop")
    kinds = tuple(getattr(module, name, None) for name in ("Handle", "TimerHandle"))
    for generation in range(3):
        objects = gc.get_objects(generation)
        if len(objects) > OBJECTS:
            return
        handles = [o for o in objects if type(o) in kinds]
        del objects
        for handle in handles:
            inside = gc.get_referents(handle)
            if any(o is loop for o in inside):
                yield from (o for o in inside if _is_run(o))


class Callbacks:
    """Says whose callback the loop is in, for the stall that began at ``start``; searches once for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        self._told: tuple[float, str | None, str | None] = (0.0, None, None)

    def request(self, start: float) -> tuple[str | None, str | None]:
        """The request and how it was proved; None where there is none."""
        if not self._uvloop:
            return None, None
        if self._told[0] != start:
            scopes = (context.get(CURRENT) for context in contexts_being_run(self._loop))
            scope = next((scope for scope in scopes if scope is not None), None)
            self._told = (start, *((route_of(scope), "callback") if scope is not None else (None, None)))
        return self._told[1:]


def _is_run(context: Any) -> bool:
    if not isinstance(context, contextvars.Context):
        return False
    try:
        context.run(callable, None)
    except RuntimeError:
        return True
    return False
