"""What the server around the app says of itself: the ports it has, whether it accepts, whether it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from unstall.runtime import mapping

FRAMES = 100


def ports_of_server(frame: FrameType | None) -> list[int] | None:
    """The ports of the server that called this frame; None where its configuration is not among its callers."""
    for _ in range(FRAMES):
        if frame is None:
            return None
        config = getattr(frame.f_locals.get("self"), "config", None)
        ports = _ports(config)
        if ports is not None:
            return ports
        frame = frame.f_back
    return None


def _ports(config: Any) -> list[int] | None:
    """uvicorn's ``port``; hypercorn's ``bind``. Only these two are known to be the whole truth."""
    module = str(getattr(type(config), "__module__", ""))
    if module.startswith("uvicorn."):
        return [port for port in [getattr(config, "port", None)] if isinstance(port, int)]
    if module.startswith("hypercorn."):
        binds = [*getattr(config, "bind", ()), *getattr(config, "insecure_bind", ())]
        ports = [str(bind).rpartition(":")[2] for bind in binds]
        return [int(port) for port in ports if port.isdigit()]
    return None


def look_at_server(cells: Any, ride: Callable[[], None]) -> None:
    """Store what the server says, and `ride` along; uvicorn's own object is behind its signal handler."""
    handler = signal.getsignal(signal.SIGTERM)
    server = getattr(handler, "__self__", None)
    if server is not None:
        _ride_along(server, ride)
    started, leaving = getattr(server, "started", None), getattr(server, "should_exit", None)
    if isinstance(started, bool):
        cells[mapping.SERVING] = mapping.ACCEPTING if started else mapping.NOT_YET
    if leaving is True:
        cells[mapping.LEAVING] = 1.0


def _ride_along(server: Any, ride: Callable[[], None]) -> None:
    """Have `ride` called ten times a second by uvicorn's own tick, for which the loop is awake anyway."""
    tick = getattr(server, "on_tick", None)
    own = vars(server) if hasattr(server, "__dict__") else {"on_tick": None}
    if "on_tick" in own or not asyncio.iscoroutinefunction(tick):
        return

    async def on_tick(*args: Any) -> Any:
        ride()
        return await tick(*args)

    server.on_tick = on_tick


def supervisor() -> int:
    """The process whose worker this one is; 0 where it is no worker."""
    processes = sys.modules.get("multiprocessing.process")
    parent = processes.parent_process() if processes is not None else None
    if parent is not None:
        return int(parent.pid or 0)
    return os.getppid() if "gunicorn.arbiter" in sys.modules else 0
