"""Knows which threads run an event loop at the moment, and from which frame on."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio import events
from dataclasses import dataclass
from types import FrameType
from typing import Any

from unstall.pytest_plugin.patches import Patches


@dataclass(frozen=True, slots=True)
class Running:
    """A loop that runs: the frame that runs it is the innermost that is not the loop's work. ``cpu_s`` is what its
    thread had spent when it began."""

    loop: Any
    frame: FrameType
    native_id: int
    cpu_s: float


class Loops:
    """The running loops, by thread."""

    def __init__(self) -> None:
        self.running: dict[int, Running] = {}

    def install(self, patches: Patches) -> None:
        """Hear of every loop that starts to run or stops. uvloop asks for the same function when it is imported."""
        original = events._set_running_loop
        running, ident, current = self.running, threading.get_ident, sys._getframe

        def set_running_loop(loop: Any) -> None:
            original(loop)
            if loop is None:
                running.pop(ident(), None)
            else:
                running[ident()] = Running(loop, current(1), threading.get_native_id(), time.thread_time())

        patches.attribute(events, "_set_running_loop", set_running_loop)
        patches.attribute(asyncio, "_set_running_loop", set_running_loop)

    def boundary(self) -> FrameType | None:
        """The frame that runs this thread's loop."""
        here = self.running.get(threading.get_ident())
        return here.frame if here is not None else None
