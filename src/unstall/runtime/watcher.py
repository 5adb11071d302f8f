"""The watch of one process: heart, sampler thread, records."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import platform
import socket
import sys
import threading
import time
from typing import Any

from unstall import __version__
from unstall.runtime import asgi, beat
from unstall.runtime.episode import Episode
from unstall.runtime.own import OwnFiles
from unstall.runtime.recorder import SCHEMA, Recorder
from unstall.runtime.sample import route_of, sample
from unstall.runtime.settings import Settings

log = logging.getLogger("unstall")
IN_FLIGHT_SHOWN = 20
ALIVE_S = 60.0


class Watch:
    """Watches the loop it is created on until that loop, or the app, stops."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: Any, settings: Settings) -> None:
        self.loop = loop
        self.settings = settings
        self.pid = os.getpid()
        self.in_flight: dict[int, Any] = {}
        self.heart = beat.Heart(loop, [0.0] * beat.CELLS, settings.threshold_s)
        self.sign = self.heart.sign
        self.own = OwnFiles(own_roots(app))
        self.who = {"host": socket.gethostname(), "pid": self.pid, "worker": worker_number()}
        self.recorder = Recorder(settings.record, log.warning, lambda: self.life("alive"))
        self.stalls = 0
        self.stalled_s = 0.0
        self._retired = False
        self._said_stop = False
        self._alive_at = time.monotonic() + ALIVE_S
        self.heart.start()
        self.recorder.write(self.life("started"))
        atexit.register(self.finish)
        threading.Thread(target=self._sampler, name="unstall", daemon=True).start()

    def ready(self) -> None:
        """Start-up is complete."""
        self.heart.ready()
        self._alive_at = 0.0

    def stop(self) -> None:
        """The app has shut down. The server may end by a signal right after, so the last record is written here."""
        self.heart.stop()
        self.finish()

    def retire(self) -> None:
        """Another loop serves now."""
        self._retired = True
        self.finish()

    def finish(self) -> None:
        """Write the last record; at exit at the latest."""
        if self.pid == os.getpid() and not self._said_stop:
            self._said_stop = True
            self._drain(None)
            self.recorder.write(self.life("stopped"))

    def life(self, event: str) -> dict[str, Any]:
        """A record of the process: started, alive, stopped."""
        now, heart = time.monotonic(), self.heart
        return {
            "schema": SCHEMA,
            "event": event,
            **self.who,
            "started_at": round(time.time() - (now - heart.started_at), 6),
            "monotonic": round(heart.started_at, 6),
            "threshold_s": self.settings.threshold_s,
            "version": __version__,
            "python": platform.python_version(),
            "loop": type(self.loop).__module__.partition(".")[0],
            "workers": worker_count(),
            "ready_after_s": round(heart.cells[beat.READY], 6) or None,
            "watched_s": round(now - heart.started_at, 6),
            "stalls": self.stalls,
            "stalled_s": round(self.stalled_s, 6),
        }

    # --- the sampler's thread ---------------------------------------------------------------------

    def _sampler(self) -> None:
        heart, cells = self.heart, self.heart.cells
        while not self._retired and self.pid == os.getpid():
            try:
                start = beat.stall_start(cells[beat.SIGN], cells[beat.BEAT])
                now = time.monotonic()
                if heart.stopped:
                    if cells[beat.STATE] == beat.STOPPED or self.loop.is_closed():
                        self.finish()
                        return
                    time.sleep(0.1)
                elif now - start >= self.settings.threshold_s:
                    self._stalled(start)
                else:
                    self._drain(None)
                    if now >= self._alive_at:
                        self._alive_at = now + ALIVE_S
                        self.recorder.write(self.life("alive"))
                    time.sleep(start + self.settings.threshold_s - now)
            except Exception:
                log.warning("a stall could not be looked at", exc_info=True)
                time.sleep(1)

    def _stalled(self, start: float) -> None:
        """From the moment a stall is seen to its end."""
        heart, cells = self.heart, self.heart.cells
        episode = Episode(start, self.settings.threshold_s)
        episode.add(self._look())
        episode.in_flight = tuple(route_of(s) for s in list(self.in_flight.values())[:IN_FLIGHT_SHOWN])
        self._tell("stall_began", episode, time.monotonic() - start, durable=True)
        while not heart.stopped:
            time.sleep(0.02 if time.monotonic() - start < 2 else 0.1)
            if beat.stall_start(cells[beat.SIGN], cells[beat.BEAT]) != start:
                break
            episode.add(self._look())
            lasted = time.monotonic() - start
            if lasted - episode.told_s >= 1:
                self._tell("stall_update", episode, lasted)
        self._drain(episode)

    def _look(self) -> Any:
        return sample(time.monotonic(), self.heart.thread, self.loop, self.own, asgi.Watched.__call__.__code__)

    def _drain(self, episode: Episode | None) -> None:
        """Record the stalls that are over; ``episode`` is the one that was seen while it lasted."""
        gaps = self.heart.gaps
        while gaps:
            gap = gaps.popleft()
            if episode is not None and gap.start == episode.start:
                over, episode = episode, None
            else:
                over = Episode(gap.start, self.settings.threshold_s)
                self._tell("stall_began", over, self.settings.threshold_s)
            self.stalls += 1
            self.stalled_s += gap.end - gap.start
            self._tell("stall_ended", over, gap.end - gap.start, late_s=round(gap.late_s, 6))
        if episode is not None:  # the loop stopped in the middle
            self._tell("stall_ended", episode, time.monotonic() - episode.start)

    def _tell(self, event: str, episode: Episode, duration_s: float, durable: bool = False, **more: Any) -> None:
        episode.told_s = duration_s
        record = episode.event(event, duration_s, time.time(), time.monotonic(), self.who)
        self.recorder.write({**record, **more}, durable)


def worker_number() -> int:
    """Which worker of its parent this process is, from 1; 0 where it is the only one."""
    processes = sys.modules.get("multiprocessing.process")
    identity = getattr(processes and processes.current_process(), "_identity", ())
    return int(identity[-1]) if identity else 0


def worker_count() -> int | None:
    """How many workers the server was asked for; None where that is not known."""
    asked = os.environ.get("UNSTALL_WORKERS") or os.environ.get("WEB_CONCURRENCY", "")
    if asked.isdigit():
        return int(asked)
    return None


def own_roots(app: Any) -> tuple[str, ...]:
    """The folders of the packages the app's endpoints live in: an installed app is still the user's own."""
    roots: set[str] = set()
    while not hasattr(app, "routes") and hasattr(app, "app"):
        app = app.app
    for route in list(getattr(app, "routes", None) or ())[:2000]:
        name = str(getattr(getattr(route, "endpoint", None), "__module__", None) or "").partition(".")[0]
        if name and name not in ("fastapi", "starlette", "__main__"):
            roots.update(list(getattr(sys.modules.get(name), "__path__", ()))[:1])
    return tuple(roots)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=asgi.forget)
