"""Listens to calls that block: what they are wrapped in, whatever a test-suite makes of what is heard."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

GRACE_S = 0.1
"""A lock that is given up within this time was held for a moment: it depends on the machine who meets it."""
CPU_S = 0.01
"""Computing is told from this much time of the thread's own CPU on; another process's load does not count."""


def always(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    """Every call may wait."""
    return True


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a wrapped call beforehand.

    ``origin`` is its path in the catalogue; ``waits`` tells from the arguments whether this one may wait; ``by_cpu`` is
    True where the call only computes; ``proved`` where it is heard only when it would really wait, so that a row that
    calls it short is overruled; ``library`` where it is a library's call above the primitives.
    """

    origin: str
    waits: Callable[[tuple[Any, ...], Mapping[str, Any]], bool] = always
    by_cpu: bool = False
    proved: bool = False
    library: bool = False


class Heard(Protocol):
    """Called on the loop's own thread after a call that blocked it."""

    def __call__(self, told: Told, frame: FrameType, started_at: float, ended_at: float) -> None: ...


class _Here(threading.local):
    """What this thread is in the middle of."""

    inside = False
    computing = False
    heard = 0


class Ear:
    """One for the process: wrappers ask it, listeners are put into it, nested pytest sessions stack theirs."""

    def __init__(self) -> None:
        self.listeners: list[Heard] = []
        self.here = _Here()

    def call(self, told: Told, original: Callable[..., Any], arguments: Any, keywords: Any, frame: FrameType) -> Any:
        """Make the call, tell of it afterwards."""
        __tracebackhide__ = True
        here = self.here
        if here.inside or (told.library and _in_greenlet()) or not told.waits(arguments, keywords):
            return original(*arguments, **keywords)
        if told.by_cpu:
            return self._computed(told, original, arguments, keywords, frame)
        here.inside = True
        started_at = time.monotonic()
        result = None
        try:
            result = original(*arguments, **keywords)
            return result
        finally:
            ended_at = time.monotonic()
            if not inspect.isawaitable(result):
                self.tell(told, frame, started_at, ended_at)
            here.inside = False

    def _computed(
        self, told: Told, original: Callable[..., Any], arguments: Any, keywords: Any, frame: FrameType
    ) -> Any:
        __tracebackhide__ = True
        here = self.here
        if here.computing:
            return original(*arguments, **keywords)
        here.computing = True
        heard, started_at, cpu = here.heard, time.monotonic(), time.thread_time()
        try:
            return original(*arguments, **keywords)
        finally:
            here.computing = False
            if time.thread_time() - cpu >= CPU_S and here.heard == heard:
                self.tell(told, frame, started_at, time.monotonic())

    def tell(self, told: Told, frame: FrameType, started_at: float, ended_at: float) -> None:
        """Tell the innermost listener; nothing that it does is listened to."""
        here = self.here
        if not self.listeners:
            return
        here.heard += 1
        before, here.inside = here.inside, True
        try:
            self.listeners[-1](told, frame, started_at, ended_at)
        finally:
            here.inside = before


EAR = Ear()


def _in_greenlet() -> bool:
    """True where a library's sync code runs in a greenlet whose waits go through the loop, as SQLAlchemy's."""
    module = sys.modules.get("greenlet")
    return module is not None and module.getcurrent().parent is not None


def wrapped(told: Told, original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is the original where no loop runs on the thread, else tells of the call."""
    running, ear, call, current = _get_running_loop, EAR, EAR.call, sys._getframe

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        __tracebackhide__ = True
        if running() is None or not ear.listeners:
            return original(*arguments, **keywords)
        return call(told, original, arguments, keywords, current(1))

    return _dressed(wrapper, original)


def wrapped_lock(told: Told, original: Callable[..., Any], enters: bool = False) -> Callable[..., Any]:
    """``acquire`` or ``__enter__`` of a lock: told of where another thread holds it for longer than a moment."""
    running, ear, current = _get_running_loop, EAR, sys._getframe

    def acquire(self: Any, blocking: bool = True, timeout: float = -1) -> Any:
        if running() is None or not ear.listeners or not blocking or ear.here.inside:
            return original(self, blocking, timeout)
        return original(self, False) or _contended(told, original, self, timeout, current(1))

    def enter(self: Any) -> Any:
        if running() is None or not ear.listeners or ear.here.inside:
            return original(self)
        return original(self, False) or _contended(told, original, self, -1, current(1))

    return _dressed(enter if enters else acquire, original)


def _contended(told: Told, original: Callable[..., Any], lock: Any, timeout: float, frame: FrameType) -> Any:
    started_at = time.monotonic()
    if 0 <= timeout <= GRACE_S:
        return original(lock, True, timeout)
    if original(lock, True, GRACE_S):
        return True
    try:
        return original(lock, True, -1 if timeout < 0 else timeout - GRACE_S)
    finally:
        EAR.tell(told, frame, started_at, time.monotonic())


def wrapped_select(told: Told, original: Callable[..., Any]) -> Callable[..., Any]:
    """A selector's ``select``: the loop's own waiting, which is no blocking, passes first of all."""
    from asyncio.base_events import BaseEventLoop

    running, ear, current = _get_running_loop, EAR, sys._getframe
    turn = getattr(BaseEventLoop, "_run_once").__code__  # noqa: B009

    def select(self: Any, timeout: float | None = None) -> Any:
        if current(1).f_code is turn or running() is None or not ear.listeners:
            return original(self, timeout)
        return ear.call(told, original, (self, timeout), {}, current(1))

    return _dressed(select, original)


def _dressed(wrapper: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(wrapper, original)
    owner = getattr(original, "__objclass__", None)
    if owner is not None:
        wrapper.__module__ = owner.__module__
    return wrapper
