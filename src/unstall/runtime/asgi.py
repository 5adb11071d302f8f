"""The ASGI wrapper: starts the watch in each serving process, keeps the requests in flight."""

from __future__ import annotations

import asyncio
import threading
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


class Watched:
    """An ASGI app that is watched; everything else asked of it is answered by the app it wraps."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.unstall_settings = settings

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # not set yet: being copied or unpickled
            raise AttributeError(name)
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
        scope[_MARK] = True
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _reporting(send, watch))
            return
        # From here to `sign` is paid by every request: names are bound outside, nothing is wrapped.
        flight, key = watch.in_flight, id(scope)
        flight[key] = scope
        slot = watch.enter(f"{scope.get('method', 'WEBSOCKET')} {scope.get('path', '')}")
        _set_current(scope)
        watch.sign()
        try:
            await self.app(scope, receive, send)
        finally:
            watch.sign()
            del flight[key]
            watch.leave(slot)


class _Here:
    """The watch of this process, where there is one."""

    watch: Any = None
    failed_loop: Any = None


_here = _Here()


def _begin(watched: Watched) -> Any:
    """The watch of the running loop, started now; None where it could not be, which is said once."""
    loop = asyncio.get_running_loop()
    if _here.failed_loop is loop:
        return None
    try:
        from unstall.runtime.watcher import Watch

        if _here.watch is not None:
            _here.watch.retire()
        _here.watch = Watch(loop, watched.app, watched.unstall_settings)
    except Exception:
        import logging

        _here.failed_loop, _here.watch = loop, None
        logging.getLogger("unstall").warning("not watching this process", exc_info=True)
    return _here.watch


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
    watch, _here.watch, _here.failed_loop = _here.watch, None, None
    if watch is not None:
        watch.disown()
