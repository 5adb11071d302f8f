"""The watch of one process: heart on the loop, sampler in a thread, observer in a process of its own."""

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
from unstall.runtime import aftermath, asgi, mapping
from unstall.runtime.beat import Heart
from unstall.runtime.cause import Books, Ledger, blame, start_ticks
from unstall.runtime.entered import Callbacks
from unstall.runtime.evidence import Episode, Sample, is_own
from unstall.runtime.homes import own_files
from unstall.runtime.open_requests import Requests
from unstall.runtime.recorder import SCHEMA, Recorder
from unstall.runtime.routes import RouteTable, rows_of
from unstall.runtime.sample import sample
from unstall.runtime.serving import ports_of_server, supervisor
from unstall.runtime.settings import Settings
from unstall.runtime.sinks.log import log_pool, log_stall
from unstall.runtime.sinks.outlets import Outlets, Sighting, Source, context_of_current
from unstall.runtime.spawn import Link
from unstall.runtime.story import LATE_MESSAGE_S, Limit, Story
from unstall.runtime.thread_pool import ThreadPool
from unstall.runtime.timing import EARLY, LATE_S, PATIENCE_S, overdue_at, stall_start
from unstall.runtime.turns import LOOK_S as TURN_S
from unstall.runtime.turns import Turns
from unstall.runtime.vitals import Vitals
from unstall.runtime.workers import worker_count, worker_number

log = logging.getLogger("unstall")
ALIVE_S = 60.0
LOOK_S = 2.0
"""How often the sampler wakes where nobody calls it."""


class Watch:
    """Watches the loop it is created on until that loop, or the app, stops."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: Any, settings: Settings) -> None:
        self.loop, self.app, self.settings = loop, app, settings
        self.pid = os.getpid()
        self.own = own_files(app)
        ticks = start_ticks(self.pid)
        self.who = {
            "host": socket.gethostname(),
            "pid": self.pid,
            "process": ticks,
            "worker": worker_number(),
        }
        self.recorder = Recorder(settings.record, log.warning, lambda: self.life("alive"))
        self.story = Story(self.who, self.recorder, settings.log_format, settings.termination_log)
        self.link = Link({**self._for_observer(), "health": self._for_health()})
        self.shared = self.link.shared
        cells = self.cells = self.shared.cells
        cells[mapping.PID], cells[mapping.TICKS] = float(self.pid), float(ticks)
        self.enter, self.leave = self.shared.enter, self.shared.leave
        self.ledger = Ledger(Books(self.pid, threading.get_native_id()))
        self.heart = Heart(loop, self.shared, settings.threshold_s, asgi.calm)
        self.pool = ThreadPool(loop, self.shared, self.own)
        self.heart.vitals = Vitals(self.shared, self.pool, self.heart.ride, self._call).take
        self.requests = Requests(self.heart, bool(settings.health_port or settings.sinks))
        self.in_flight = self.requests.seen
        self.sign, self.thread = self.heart.sign, self.heart.thread
        self.stalls, self.stalled_s = 0, 0.0
        self.table = RouteTable()
        self._turns = Turns(loop, self.heart.thread)
        self._callbacks = Callbacks(loop)
        self.outlets = Outlets(settings.sinks, Source(self.shared, self.table), log.warning)
        self.heart.lags = self.outlets.lags
        self._look_at = 0.0
        self._lines, self._gaps = Limit(), 0
        self._alive_at = time.monotonic() + ALIVE_S
        self._retired = self._said_ready = self._said_stop = self._said_alone = False
        self._last: tuple[float, dict[str, Any]] | None = None
        self.heart.start()
        # Without /proc an observer could not tell when to end: then the thread watches alone.
        self._observed = settings.observer and ticks > 0
        if self._observed:
            self.link.register(settings.signal)
        aftermath.close_open_stalls(self.recorder, self.who)
        self.link.settings["life"] = self.life("started")
        self.recorder.write(self.link.settings["life"])
        atexit.register(self.finish)
        threading.Thread(target=self._sampler, name="unstall", daemon=True).start()

    def _for_observer(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "threshold_s": settings.threshold_s,
            "record": os.path.abspath(settings.record) if settings.record else "",
            "termination_log": settings.termination_log,
            "log_format": settings.log_format,
            "who": self.who,
            "roots": self.own.roots,
            "below": self.own.below,
            "bin": self.own.bin,
        }

    def _for_health(self) -> dict[str, Any] | None:
        """What the observer needs to answer on the health port; None where there is none."""
        settings = self.settings
        if not settings.health_port:
            return None
        if not (settings.observer and self.who["process"]):
            log.warning("no health port: it is the observer that answers, and there is none (Linux only)")
            return None
        return {
            "port": settings.health_port,
            "dead_after_s": settings.dead_after_s,
            "busy_after_s": settings.busy_after_s,
            "stalls_from": settings.stalls_from,
            "supervisor": supervisor(),
            "expected": worker_count() or 0,
            "app_ports": ports_of_server(sys._getframe(2)),
            "threshold_s": settings.threshold_s,
            "began_at": time.monotonic(),
            "version": __version__,
            "loop": type(self.loop).__module__.partition(".")[0],
        }

    def leaving(self) -> None:
        """The app is about to shut down."""
        self.cells[mapping.LEAVING] = 1.0

    def ready(self) -> None:
        """Start-up is complete; said again, or after the end, it means nothing."""
        if not self._said_ready and self.cells[mapping.STATE] != mapping.STOPPED:
            self._said_ready = True
            self.heart.ready()
            self._alive_at = 0.0
            self._call()

    def _call(self) -> None:
        """Have the sampler do its chores now."""
        self._look_at = 0.0
        self.link.call()

    def stop(self) -> None:
        """The app has shut down. The server may end by a signal right after, so the last record is written here."""
        self.heart.stop()
        if self._last is not None and time.monotonic() - self._last[0] < LATE_MESSAGE_S:
            self.story.message.put(self._last[1])
        self.finish()

    def retire(self) -> None:
        """Another loop serves now."""
        self._retired = True
        self.cells[mapping.STATE] = mapping.STOPPED
        self.finish()

    def disown(self) -> None:
        """In a forked child: nothing here may write to what its parent shares with an observer."""
        self.shared.disown()
        self.cells = self.shared.cells
        self.heart.disown()

    def finish(self) -> None:
        """Write the last record; at exit at the latest."""
        if self.pid == os.getpid() and not self._said_stop:
            self._said_stop = True
            self.cells[mapping.STATE] = mapping.STOPPED
            self._count()
            self.cells[mapping.SAID] = 1.0
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
            "ready_after_s": round(self.cells[mapping.READY], 6) or None,
            "watched_s": round(now - heart.started_at, 6),
            "stalls": self.stalls,
            "stalled_s": round(self.stalled_s, 6),
        }

    # --- the sampler's thread ---------------------------------------------------------------------

    def _sampler(self) -> None:
        while not self._retired and self.pid == os.getpid():
            try:
                if not self._turn():
                    break
            except Exception:
                log.warning("a stall could not be looked at", exc_info=True)
                time.sleep(1)
        if self.pid == os.getpid():
            self.link.end()

    def _turn(self) -> bool:
        """One look at the beat; False when there is nothing left to watch."""
        cells, threshold_s = self.cells, self.settings.threshold_s
        if self.heart.stopped:
            return self._pause()
        if cells[mapping.STATE] == mapping.IDLE:
            cells[mapping.STATE] = mapping.RUNNING
        start = self._start()
        now = time.monotonic()
        if now - start >= threshold_s:
            self._stalled(start)
            return True
        beat, period_s = cells[mapping.BEAT], cells[mapping.PERIOD]
        late_at, overdue = beat + period_s + LATE_S, overdue_at(start, beat, period_s, threshold_s)
        if cells[mapping.CALM] and now >= late_at:
            self.heart.rouse()
        if now >= overdue:
            self._wait_for_stall(start)
            return True
        self._count()
        self._chores(now)
        if self.link.alive:
            # The observer rings when a beat is overdue, once: from then on this thread is to look by itself.
            self.link.rest(LOOK_S if now < late_at else overdue - now)
            return True
        if now < late_at:
            self.ledger.healthy(now, cells[mapping.GC])
        rest = start + EARLY * threshold_s - time.monotonic()
        if cells[mapping.CALM] and now < late_at:
            rest = min(rest, late_at - now)
        if rest > 0:
            time.sleep(rest)
        return True

    def _pause(self) -> bool:
        """The loop does not run: that is no stall."""
        asgi.calm(False)
        if self.cells[mapping.STATE] == mapping.STOPPED or self.loop.is_closed():
            self.finish()
            return False
        self.cells[mapping.STATE] = mapping.IDLE
        time.sleep(0.05)
        return True

    def _chores(self, now: float) -> None:
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self.requests.look()
            full = self.pool.look(now, self.settings.busy_after_s)
            if full is not None:
                log_pool(log, full)
                self.recorder.write({"schema": SCHEMA, "event": "pool_full", **self.who, "at": time.time(), **full})
            if self.heart.lags:
                self.outlets.beats(self.heart.lags)
        if self._observed:
            self.link.tend(now)
            if self.link.hopeless and not self._said_alone:
                self._said_alone = True
                log.warning("the observer process cannot start; watching from a thread instead")
        if now >= self._alive_at:
            if self._alive_at == 0.0:
                rows = rows_of(self.app)
                self.table.load(rows)
                self.shared.table.write(rows)
            self._alive_at = now + ALIVE_S
            self.recorder.write(self.life("alive"))

    def _wait_for_stall(self, start: float) -> None:
        """A beat is overdue: until it is a stall, see whether the loop is in one callback or runs through many."""
        if self._turns.moves_on(lambda: self._goes_on(start), start + self.settings.threshold_s):
            self.heart.passed(self._turns.at, self._turns.was_short(start + self.settings.threshold_s + PATIENCE_S))

    def _goes_on(self, start: float) -> bool:
        return self._start() == start and not self.heart.stopped

    def _start(self) -> float:
        cells = self.cells
        return stall_start(cells[mapping.SIGN], cells[mapping.BEAT], cells[mapping.PERIOD])

    def _stalled(self, start: float) -> None:
        """From the moment a stall is seen to its end."""
        cells, patient_until = self.cells, start + self.settings.threshold_s + PATIENCE_S
        episode = Episode(start, self.settings.threshold_s)
        episode.add(self._look(start))
        episode.in_flight = self.requests.routes(episode.samples, self.table.name)
        alone = not self.link.alive
        episode.publish(self.shared.evidence.write, False)
        cpu = cells[mapping.CPU]
        self.ledger.begin(start, cpu)
        if alone:
            cells[mapping.TOLD] = start
            self._judge(episode, time.monotonic(), cpu)
            self.story.began(episode, time.monotonic())
        self._sight(episode, first=True)
        while not self.heart.stopped:
            now = time.monotonic()
            patient = now < patient_until
            time.sleep(TURN_S if patient else 0.02 if now - start < 2 else 0.1)
            if not self._goes_on(start):
                break
            if self._turns.moved_on():
                in_vain = self._turns.was_short(patient_until)
                self.heart.passed(self._turns.at, in_vain)
                if in_vain and not alone:
                    self._turns.forget()
                    return
                break
            if patient:
                continue
            episode.add(self._look(start))
            episode.publish(self.shared.evidence.write, False)
            self._sight(episode)
            if not alone and not self.link.alive:
                alone = True  # the witness died: go on from here
                cells[mapping.TOLD] = start
            lasted = time.monotonic() - start
            if alone:
                self._judge(episode, start + lasted, cpu)
            if alone and lasted - episode.told_s >= 1:
                self.story.update(episode, time.monotonic())
        self._turns.forget()
        episode.publish(self.shared.evidence.write, True)
        self._over(episode, alone, cpu)

    def _judge(self, episode: Episode, now: float, cpu: float, over: bool = False) -> None:
        """Without an observer the same books are read from within."""
        self.ledger.step(time.monotonic())
        episode.cause = self.ledger.breakdown(now, cpu, self.cells[mapping.GC])
        episode.blame = blame(now - episode.start, episode.cause, self.settings.threshold_s, over, episode.located)

    def _over(self, episode: Episode, alone: bool, cpu: float) -> None:
        gaps = self._count()
        end = next((gap for gap in gaps if gap[0] == episode.start), None)
        duration_s = end[1] - end[0] if end is not None else time.monotonic() - episode.start
        if end is not None:
            episode.late_s = end[2]
        if alone:
            self._judge(episode, episode.start + duration_s, cpu, over=True)
            self.story.ended(episode, duration_s)
            self.cells[mapping.TOLD_GAPS] = float(self._gaps)
        record = episode.event("stall_ended", duration_s, time.time() - duration_s, self.who)
        self._last = (time.monotonic(), record)
        verdict = None if alone else self._verdict(episode.start)
        if verdict is not None:
            # The observer's account is the fuller one: it also saw what held the GIL, and knows the cause.
            record = {**verdict, **self.who, "started_at": record["started_at"]}
            self._last = (self._last[0], record)
        self.requests.told(record)
        log_stall(log, self._lines, record, time.monotonic())
        self.outlets.stall(record)

    def _sight(self, episode: Episode, first: bool = False) -> None:
        """Tell the sinks that want to know while a stall lasts."""
        if self.outlets.watches_stalls:
            lasted_s = time.monotonic() - episode.start
            record = episode.event("stall_update", lasted_s, time.time() - lasted_s, self.who)
            self.outlets.during(Sighting(record, context_of_current(self.loop), first))

    def _verdict(self, start: float) -> dict[str, Any] | None:
        """What the observer made of this stall; waited for while the loop beats."""
        until = time.monotonic() + 2.5
        while time.monotonic() < until and not self.heart.stopped:
            found = self.shared.verdict.read_new()
            if found is not None and isinstance(found, tuple) and found[0] == start:
                record: dict[str, Any] = found[1]
                return record
            if time.monotonic() - self._start() >= self.settings.threshold_s:
                return None
            time.sleep(0.01)
        return None

    def _look(self, start: float) -> Sample | None:
        seen = sample(time.monotonic(), self.heart.thread, self.loop, self.own, asgi.Watched._attend.__code__)
        if seen is None:
            return None
        if seen.route is None and is_own(seen.stack):
            seen.route, seen.route_proof = self._callbacks.request(start)
        if seen.route is not None:
            seen.route = self.table.name(seen.route)
        return seen

    def _count(self) -> list[tuple[float, float, float]]:
        """The stalls that are over and were not counted yet."""
        self._gaps, gaps = self.shared.gaps_since(self._gaps)
        for start, end, _ in gaps:
            self.stalls += 1
            self.stalled_s += end - start
        return gaps


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=asgi.forget)
