"""The trivial app, watched or not as it is told: two processes of one program differ by more than watching costs.

`GET /watching/off` tells how many requests were answered so far and leaves the loop as if nobody watched: no wrapper around the app, no beat, the sampler's thread and the
observer asleep. `on` gives all of it back. The connections stay: they too differ by more from each other.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import threading
import time
from typing import Any

from plain_app import app

import unstall
from unstall.runtime import asgi, beat, mapping, vitals
from unstall.runtime.watcher import LOOK_S

# With half a processor a second of its work takes two: beats, and with them the observer's looks, come half as often then.
# What is done once a second or less is not halved.
share = int(os.environ.get("SHARED_BY", "1"))
beat.PERIOD_S *= share
vitals.EVERY_S *= share
watched = unstall.watch(app)


@app.get("/watching/{on}")
async def watching(on: str) -> int:
    """Only what `unstall run` or `watch` put there is taken away; where there is nothing, nothing happens."""
    server = signal.getsignal(signal.SIGTERM).__self__  # type: ignore[union-attr]
    if asgi._here.watch is not None:
        if not _made:
            _made.append(_Switch(asgi._here.watch, server))
        _made[0].turn(on == "on")
    return int(server.server_state.total_requests)


class _Switch:
    """Takes one watch away and gives it back; on the loop's thread."""

    def __init__(self, watch: Any, server: Any) -> None:
        self.watch, self.server, self.is_on = watch, server, True
        self.app, self.bare = server.config.loaded_app, _bare(server.config.loaded_app)
        self.open = threading.Event()
        self.open.set()
        look = watch._turn

        def look_while_on() -> bool:
            while not self.open.is_set():
                self.open.wait()
                # As if it had slept on: its look comes when it would have come, not with each turn.
                watch.link.rest(random.uniform(0, LOOK_S))
            return bool(look())

        watch._turn = look_while_on

    def turn(self, on: bool) -> None:
        if on is self.is_on:
            return
        self.is_on = on
        heart, cells = self.watch.heart, self.watch.cells
        observer = int(cells[mapping.WATCHING])
        if on:
            cells[mapping.SIGN] = cells[mapping.BEAT] = heart.sign_at = time.monotonic()
            heart._tick()  # at once: until the first beat requests would be dearer than they are
            self.open.set()
            os.kill(observer, signal.SIGCONT)
        else:
            os.kill(observer, signal.SIGSTOP)
            self.open.clear()
            heart._handle.cancel()
            heart._handle = None
            asgi.calm(False)
        self.server.config.loaded_app = self.app if on else self.bare
        for connection in self.server.server_state.connections:
            connection.app = self.server.config.loaded_app


_made: list[_Switch] = []


def _bare(loaded: Any) -> Any:
    """What the server loaded, with the same middleware of its own and without the wrapper."""
    if isinstance(loaded, asgi.Watched):
        return loaded.app
    bare = copy.copy(loaded)
    bare.app = _bare(loaded.app)
    return bare
