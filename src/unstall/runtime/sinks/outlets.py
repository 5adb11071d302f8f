"""The sinks that were asked for: each is told of every stall from a thread of its own, or is off for good.

A sink is anything that can be called with a finished stall's record. It may have more: ``during(sighting)`` is called
while a stall lasts, ``beats(lags)`` every two seconds or sooner with how late each beat was, ``bind(source)`` once at the start.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from unstall.runtime.mapping import Shared
from unstall.runtime.sample import context_of

Sink = Callable[[dict[str, Any]], None]
NAMES = ("prometheus", "otel")
WAITING = 1000
"""How many records may wait for a slow sink; later ones are dropped."""


class Source(NamedTuple):
    """What a sink may read: the shared memory, and the labels of the app's routes as far as they are known."""

    shared: Shared
    routes: Container[str]


class Sighting(NamedTuple):
    """A stall that goes on: what is known of it so far, and the context of the task that is blocked."""

    record: dict[str, Any]
    context: Any
    first: bool


class Outlets:
    """All sinks of one watch. ``warn`` writes one sentence to the app's log."""

    def __init__(self, asked: Sequence[str | Sink], source: Source, warn: Callable[..., None]) -> None:
        self._warn = warn
        self._sinks: dict[str, Any] = {}
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(WAITING)
        for one in asked:
            self._open(one, source)
        if self._sinks:
            threading.Thread(target=self._serve, name="unstall-sinks", daemon=True).start()

    @property
    def lags(self) -> deque[float] | None:
        """Where beats are to be collected, for those sinks that want them."""
        return deque(maxlen=2048) if any(hasattr(sink, "beats") for sink in self._sinks.values()) else None

    @property
    def watches_stalls(self) -> bool:
        """Some sink is to be called while a stall lasts."""
        return any(hasattr(sink, "during") for sink in self._sinks.values())

    def stall(self, record: dict[str, Any]) -> None:
        """Tell of a finished stall, without waiting."""
        self._put("stall", record)

    def beats(self, lags: deque[float]) -> None:
        """Hand on how late the beats were since the last call."""
        taken = [lags.popleft() for _ in range(len(lags))]
        if taken:
            self._put("beats", taken)

    def during(self, sighting: Sighting) -> None:
        """Tell of a stall that goes on; at once, since the request's span may end with it."""
        self._tell("during", sighting)

    def _put(self, what: str, value: Any) -> None:
        if self._sinks:
            try:
                self._queue.put_nowait((what, value))
            except queue.Full:
                return

    def _serve(self) -> None:
        while self._sinks:
            what, value = self._queue.get()
            self._tell(what, value)

    def _tell(self, what: str, value: Any) -> None:
        for name, sink in list(self._sinks.items()):
            method = sink if what == "stall" else getattr(sink, what, None)
            if method is None:
                continue
            try:
                method(value)
            except Exception:
                # One that raised once would raise for every stall: a log full of it helps nobody.
                if self._sinks.pop(name, None) is not None:
                    self._warn("the sink %s raised and is off from now on", name, exc_info=True)

    def _open(self, asked: str | Sink, source: Source) -> None:
        name = asked if isinstance(asked, str) else getattr(asked, "__qualname__", type(asked).__name__)
        try:
            sink: Any = _named(asked) if isinstance(asked, str) else asked
            if hasattr(sink, "bind"):
                sink.bind(source)
            while name in self._sinks:
                name += "'"
            self._sinks[name] = sink
        except ImportError as error:
            extra = f": pip install 'unstall[{name}]'" if name in NAMES else ""
            self._warn("the sink %s is off, %s is not installed%s", name, error.name or error, extra)
        except Exception:
            self._warn("the sink %s is off, it cannot be set up", name, exc_info=True)


def context_of_current(loop: asyncio.AbstractEventLoop) -> Any:
    """The context of the task that runs on this loop now, asked from another thread; None where there is none."""
    task = asyncio.current_task(loop)
    return context_of(task) if task is not None else None


def _named(name: str) -> Any:
    """A sink by name; its library is imported here and nowhere else.

    Raises:
        ValueError: there is no such sink.
        ImportError: its library is not installed.
    """
    if name == "prometheus":
        from unstall.runtime.sinks.prometheus import PrometheusSink

        return PrometheusSink()
    if name == "otel":
        from unstall.runtime.sinks.otel import OtelSink

        return OtelSink()
    raise ValueError(f"no sink is called {name}: there are {', '.join(NAMES)}, and functions of yours")
