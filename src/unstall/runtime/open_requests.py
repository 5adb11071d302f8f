"""The requests a loop has open: those that were looked at are known, the others are found in its tasks when asked for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unstall.runtime.evidence import IN_FLIGHT_SHOWN, Sample
from unstall.runtime.mapping import CALM, UNSEEN
from unstall.runtime.naming import route_of
from unstall.runtime.sample import CURRENT, context_of

if TYPE_CHECKING:
    from unstall.runtime.beat import Heart

DEPTH = 12
"""How deep in a task's coroutines its scope is looked for: servers and frameworks have theirs near the top."""
TASKS = 2000
_KINDS = ("http", "websocket")


class Requests:
    """The requests of one watch, asked from its sampler's thread. ``counted``: somebody wants to know how many."""

    def __init__(self, heart: Heart, counted: bool) -> None:
        self.heart, self._counted = heart, counted
        self.seen: dict[int, Any] = {}

    def routes(self, samples: Sequence[Sample], name: Callable[[str], str]) -> tuple[str, ...]:
        """What is in flight, as people call it, in a stall of which ``samples`` were taken."""
        found = [name(route_of(scope)) for scope in self._open()[:IN_FLIGHT_SHOWN]]
        # One that was not looked at is on the stack, and in no task that waits.
        runs = {seen.route for seen in samples if seen.route is not None and seen.route_proof == "frame"}
        return tuple([*sorted(runs.difference(found)), *found][:IN_FLIGHT_SHOWN])

    def look(self) -> None:
        """Count those that go by, and see whether they make tasks that need to know whose they are."""
        heart = self.heart
        calm = heart.cells[CALM]
        if calm and not heart.marks_all and has_children(heart.loop):
            heart.mark_all()
        heart.cells[UNSEEN] = float(len(self._open()) - len(self.seen)) if calm and self._counted else 0.0

    def told(self, record: Mapping[str, Any]) -> None:
        """A stall is over. Where the app's own code blocked in no known request, its context would have told."""
        where = record["site"]
        own = record["blame"] == "code" and where is not None and where["own"]
        if own and record["route"] is None and self.heart.cells[CALM]:
            self.heart.mark_all()

    def _open(self) -> list[Mapping[str, Any]]:
        return open_requests(self.heart.loop, self.seen) if self.heart.cells[CALM] else list(self.seen.values())


def open_requests(loop: asyncio.AbstractEventLoop, known: Mapping[int, Any]) -> list[Mapping[str, Any]]:
    """The scopes of ``known`` and of the requests whose tasks wait; the one that runs is on the stack instead."""
    found: dict[int, Mapping[str, Any]] = dict(known)
    for task in _tasks(loop):
        scope = _scope_of(task)
        if scope is not None:
            found[id(scope)] = scope
    return list(found.values())


def has_children(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether some task was made by a request and is not the one that serves it."""
    for task in _tasks(loop):
        context = context_of(task)
        if context is not None and context.get(CURRENT) is not None and not _serves(task):
            return True
    return False


def _tasks(loop: asyncio.AbstractEventLoop) -> list[Any]:
    try:
        return list(asyncio.all_tasks(loop))[:TASKS]
    except RuntimeError:  # the set changed all the time
        return []


def _coroutines(task: Any) -> Iterator[Any]:
    """What the task waits in, outermost first."""
    waiting = task.get_coro()
    for _ in range(DEPTH):
        if getattr(waiting, "cr_code", None) is None:
            return
        yield waiting
        waiting = waiting.cr_await


def _scope_of(task: Any) -> Mapping[str, Any] | None:
    for coroutine in _coroutines(task):
        # Not by `f_locals`: that would leave a copy of the variables in the frame, which would keep them alive.
        for held in gc.get_referents(coroutine):
            scope = held if type(held) is dict else _of_server(held)
            if type(scope) is dict and scope.get("type") in _KINDS and "path" in scope:
                return scope
    return None


def _of_server(held: Any) -> Any:
    """uvicorn's own coroutine has no scope but an object of uvicorn's that has."""
    return getattr(held, "scope", None) if type(held).__module__.startswith("uvicorn.") else None


def _serves(task: Any) -> bool:
    from unstall.runtime.asgi import Watched

    wrapper = Watched._attend.__code__
    return any(coroutine.cr_code is wrapper for coroutine in _coroutines(task))
