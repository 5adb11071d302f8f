"""The ASGI wrapper: starts the watch in each serving process, keeps the requests in flight."""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from unstall.runtime.sample import CURRENT
from unstall.runtime.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_MARK = "unstall.watched"
_thread, _set_current = threading.get_ident, CURRENT.set
_calm = False
"""Whether requests go to the app at once: enough of this beat's were looked at (see `beat`)."""
_made: tuple[weakref.ref[Watched], ...] = ()
"""All that are or were wrapped; made anew with each, since any thread may read it."""


def calm(now: bool) -> None:
    """Let requests go by from now on, or look at them again. With several loops each has to ask whose it is."""
    global _calm
    _calm = now and len(_here.watches) == 1
    for made in _made:
        watched = made()
        if watched is not None:
            watched.__call__ = watched.app if _calm else watched._attend


class Watched:
    """An ASGI app that is watched; everything else asked of it is answered by the app it wraps."""

    # A slot of that name is what the interpreter calls, and it finds it without running a line of Python: so each
    # instance can be called as one thing or another, and a request that goes by pays nothing at all.
    __slots__ = ("__call__", "__dict__", "__weakref__", "app", "unstall_settings")
    __call__: Callable[[Scope, Receive, Send], Awaitable[None]]

    def __init__(self, app: Any, settings: Settings) -> None:
        global _made
        self.app = app
        self.unstall_settings = settings
        self.__call__ = self._attend
        _made = (*(made for made in _made if made() is not None), weakref.ref(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Watched, (self.app, self.unstall_settings), vars(self) or None

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # not set yet
            raise AttributeError(name)
        if name == "__signature__":  # a slot has none to be found
            return inspect.signature(self._attend)
        return getattr(self.app, name)

    async def _attend(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. The frame of this call is what ties a sampled stack to its request."""
        if _MARK in scope:
            await self.app(scope, receive, send)
            return
        watch = _here.watch
        # Cheaper than `get_running_loop`, which before 3.12 asks the kernel for the pid each time.
        if watch is None or watch.thread != _thread() or not watch.loop.is_running():
            watch = _begin(self)
            if watch is None:
                await self.app(scope, receive, send)
                return
            if scope["type"] != "lifespan":
                watch.ready()  # no start-up was seen: the server serves already
        scope[_MARK] = True
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, _noticing(receive, watch), _reporting(send, watch))
            finally:
                watch.ready()  # also where the app knows no lifespan and has said so by raising
            return
        if not watch.heart.attends():
            _set_current(scope)
            await self.app(scope, receive, send)
            return
        flight, key = watch.in_flight, id(scope)
        flight[key] = scope
        slot = watch.enter(f"{scope.get('method', 'WEBSOCKET')} {scope.get('path', '')}")
        _set_current(scope)
        watch.sign()
        try:
            await self.app(scope, receive, send)
        finally:
            if _calm:
                watch.heart.unsign()
            else:
                watch.sign()
            del flight[key]
            watch.leave(slot)


class _Here:
    """The watches of this process by their threads; ``watch`` is the one that requests look at first."""

    watch: Any = None
    failed_loop: Any = None
    last_app: Any = None
    """What a server loaded, not what a program wrapped: that may be one of many."""

    def __init__(self) -> None:
        self.watches: dict[int, Any] = {}


_here = _Here()


def _begin(watched: Watched) -> Any:
    """The watch of the running loop, started now where there is none; None where it could not be, said once."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop, trio's
        return None
    watch = _here.watches.get(_thread())
    if watch is not None and watch.loop is loop:
        return watch
    if _here.failed_loop is loop:
        return None
    try:
        from unstall.runtime.watcher import Watch

        calm(False)
        for thread, ended in list(_here.watches.items()):
            if thread == _thread() or not ended.loop.is_running():
                _here.watches.pop(thread).retire()
        watch = _here.watches[_thread()] = Watch(loop, watched.app, watched.unstall_settings)
        if _here.watch is None or not _here.watch.loop.is_running():
            _here.watch = watch
    except Exception:
        import logging

        _here.failed_loop, watch = loop, None
        logging.getLogger("unstall").warning("not watching this process", exc_info=True)
    return watch


def serves(app: Any = None, ready: bool = True) -> None:
    """The running loop begins to serve: watch it from now on, for ``app`` or the one that was loaded last."""
    from unstall.runtime.settings import settings_from

    watched = app if isinstance(app, Watched) else _here.last_app
    watch = _begin(watched if watched is not None else Watched(None, settings_from()))
    if watch is not None and ready:
        watch.ready()


def _noticing(receive: Receive, watch: Any) -> Receive:
    async def noticing() -> Message:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            watch.leaving()
        return message

    return noticing


def _reporting(send: Send, watch: Any) -> Send:
    async def reporting(message: Message) -> None:
        await send(message)
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            watch.ready()
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
            watch.stop()

    return reporting


def forget() -> None:
    """In a forked child: its parent's watch is not its own."""
    calm(False)
    watches = list(_here.watches.values())
    _here.watch = _here.failed_loop = None
    _here.watches.clear()
    for watch in watches:
        watch.disown()
