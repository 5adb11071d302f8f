"""The observer process: sees a stall from outside while it lasts, whatever holds the GIL.

Started by the app as ``python -I -S`` with two inherited files: the shared mapping and the stack dump. While
the loop beats it reads the time of the last beat ten times a second; it wakes exactly when a beat is overdue.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would load `enum`
import os
import select
import sys
import time

from unstall.runtime import mapping
from unstall.runtime.capture import Capture, busiest
from unstall.runtime.cause import Books, Ledger, blame, own_wait_s, start_ticks
from unstall.runtime.evidence import IN_FLIGHT_SHOWN, Episode, Sample, site
from unstall.runtime.mapping import Shared
from unstall.runtime.own import OwnFiles
from unstall.runtime.recorder import SCHEMA, Recorder, try_write
from unstall.runtime.routes import RouteTable
from unstall.runtime.rules import Rules
from unstall.runtime.story import Story
from unstall.runtime.timing import BUSY_S, EARLY, LATE_S, PATIENCE_S, overdue_at, stall_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WAIT_FOR_ROUTE_S = 0.012
"""How long the first evidence waits for the request's name from within the process."""
WAIT_FOR_LAST_S = 0.15
WAIT_FOR_RULE_S = 1.5
SECOND_CAPTURE_S = 0.5
ASKED = 4
"""How often a thread is asked for its stack that has not answered."""
BOOKS_S, CALM_BOOKS_S = 0.09, 1.0
"""How often the accounts are noted while all is well; reading them costs more than looking at the beat. The second
while nobody waits for a processor, the accounts standing still."""
HURRIED_S = 5.0
"""How long after the last wait for a processor the accounts are noted often."""
LAG_S = 0.008
"""How late the beats since the last look may be together where nobody has to wait."""
WAIT_SHARE = 0.005
"""The part of the time that a thread on a quiet machine waits for a processor at most."""
FROZEN_S = 1.0
"""A process that sleeps that much longer than it asked for was frozen, and so was all it watches."""
LINGER_S = 1.0


class Observer:
    """Watches one loop of its parent process until that process is gone."""

    def __init__(self, shared: Shared, dump_fd: int, bell_fd: int, settings: dict[str, Any], map_fd: int = -1) -> None:
        self.shared, self.cells = shared, shared.cells
        self.pid = int(self.cells[mapping.PID])
        tid = int(self.cells[mapping.THREAD])
        self.threshold_s: float = settings["threshold_s"]
        self.own = OwnFiles(settings["roots"], settings["below"], settings["bin"])
        self.books = Books(self.pid, tid)
        self.ledger = Ledger(self.books)
        ticks, number = int(self.cells[mapping.TICKS]), int(self.cells[mapping.SIGNAL])
        self.capture = Capture(self.pid, tid, ticks, number, dump_fd, self.books)
        self.recorder = Recorder(settings["record"], warn)
        self.story = Story(settings["who"], self.recorder, settings["log_format"], settings["termination_log"])
        self._life: dict[str, Any] = settings.get("life") or {}
        self.table = RouteTable()
        self.rules = Rules()
        self.gaps = int(self.cells[mapping.TOLD_GAPS])
        self._bell_fd = bell_fd
        self._captured: list[Sample] = []
        self._asked = 0
        self._rung = self._rung_at = self._busy_until = 0.0
        self._books_at = self._hurried_until = self._lag_s = 0.0
        self._death = Death(self.pid, ticks)
        if settings.get("health"):
            self._open_port(settings, map_fd)

    def _open_port(self, settings: dict[str, Any], map_fd: int) -> None:
        """Loaded only where it was asked for: the port costs memory."""
        from unstall.runtime.health_port import open_port
        from unstall.runtime.tally import Tally

        self.story.hear = Tally(self.shared, self.table).hear
        open_port(self.shared, map_fd, settings, self._death, warn)

    def watch(self) -> None:
        """Until the app is gone, or has ended this watch."""
        cells, over_at = self.cells, 0.0
        while not self._death.happened:
            now = time.monotonic()
            cells[mapping.WATCHED_AT] = now
            if cells[mapping.STATE] not in (mapping.STARTING, mapping.RUNNING):
                over_at = over_at or now if cells[mapping.STATE] == mapping.STOPPED else 0.0
                if over_at and now - over_at >= LINGER_S:
                    return  # this watch has ended, its process has not
                self._death.wait(0.1)
                self.gaps = int(cells[mapping.GAPS])
                continue
            if cells[mapping.GAPS] != self.gaps:
                self._missed()
            beat, period_s = cells[mapping.BEAT], cells[mapping.PERIOD]
            start = stall_start(cells[mapping.SIGN], beat, period_s)
            if now - start >= self.threshold_s:
                patience_s = self._patience_s(start, now)
                if patience_s > 0:
                    self._death.wait(patience_s)
                else:
                    self._stall(start, now)
            else:
                if now < beat + period_s + LATE_S:
                    self._note(now)
                self._death.wait(self._overdue(start, now) - now)
        self._gone()

    def _note(self, now: float) -> None:
        """Note the accounts, seldom while they stand still: a late beat shows at once that they do not."""
        cells = self.cells
        lag_s = cells[mapping.LAG_SUM]
        if lag_s - self._lag_s >= LAG_S:
            self._hurried_until, self._books_at = now + HURRIED_S, 0.0
        self._lag_s = lag_s
        if now < self._books_at:
            return
        if self.ledger.healthy(now, cells[mapping.GC]) > WAIT_SHARE:
            self._hurried_until = now + HURRIED_S
        self._books_at = now + (BOOKS_S if now < self._hurried_until else CALM_BOOKS_S)

    def _overdue(self, start: float, now: float) -> float:
        """When to look again. Before a stall is one, the app has to see what the loop is in, and all its requests."""
        cells, until = self.cells, start + self.threshold_s
        beat, period_s = cells[mapping.BEAT], cells[mapping.PERIOD]
        late_at = beat + period_s + LATE_S
        overdue = overdue_at(start, beat, period_s, self.threshold_s)
        if now >= overdue or (cells[mapping.CALM] and now >= late_at):
            self._ring(start, now)
            self._busy_until = now + BUSY_S
            return until
        busy = now < self._busy_until or now >= late_at
        return overdue if busy else start + EARLY * self.threshold_s

    def _ring(self, start: float, now: float) -> None:
        """Have the sampler in the app look which callback the loop is in."""
        if self._rung != start:
            self._rung, self._rung_at = start, now
            try_write(self._bell_fd, b"?")
            self.ledger.suspect(start)

    def _patience_s(self, start: float, now: float) -> float:
        """How long to wait yet for the app to see that the loop goes from one short callback to the next."""
        self._ring(start, now)
        rest_s = min(self._rung_at, start + self.threshold_s) + PATIENCE_S - now
        # Asleep it is in one call, and that is that.
        return rest_s if rest_s > 0 and self.books.state() == "R" else 0.0

    def _stall(self, start: float, now: float) -> None:
        episode = Episode(start, self.threshold_s)
        cpu = self.cells[mapping.CPU]
        try_write(self._bell_fd, b"!")  # the sampler in the app looks too
        self.ledger.begin(start, cpu)
        self.ledger.step(now)
        self._captured, self._asked = [], 0
        self._capture(episode, now)
        episode.in_flight = self._in_flight()
        self._evidence(episode, now + WAIT_FOR_ROUTE_S)
        if self.cells[mapping.STATE] not in (mapping.STARTING, mapping.RUNNING):
            return  # the loop was left, not blocked
        if not self._goes_on(start) and all(gap[0] != start for gap in self.shared.gaps_since(self.gaps)[1]):
            return  # many short callbacks, as the sampler saw meanwhile
        if self.cells[mapping.TOLD] == start:  # the app had begun to tell of it when this observer came up
            while self._goes_on(start) and not self._death.happened:
                self._death.wait(0.02)
            if self._death.happened:
                self._killed(episode, time.monotonic(), cpu)
            return
        self._judge(episode, time.monotonic(), cpu)
        self.story.began(episode, time.monotonic())
        captured_again = False
        while self._goes_on(start):
            before = time.monotonic()
            asked = 0.02 if before - start < 2 else 0.05
            waited = own_wait_s()
            self._death.wait(asked)
            now = self.cells[mapping.WATCHED_AT] = time.monotonic()
            if self._death.happened:
                self._killed(episode, now, cpu)
                return
            if not self._goes_on(start):
                break
            self.ledger.step(now, max(0.0, now - before - asked - 0.005 - (own_wait_s() - waited)))
            self._evidence(episode, 0.0)
            self._rule(episode, 0.0)
            self._ask_again(episode, now, cpu)
            if now - start >= SECOND_CAPTURE_S and not captured_again:
                captured_again = True
                self._capture(episode, now)
            if now - start - episode.told_s >= (1.0 if now - start < 60 else 5.0):
                self._judge(episode, now, cpu)
                self.story.update(episode, now)
        self._over(episode, cpu)

    def _killed(self, episode: Episode, now: float, cpu: float) -> None:
        self._judge(episode, now, cpu)
        self.story.killed(episode, now - episode.start)
        self.cells[mapping.SAID] = 1.0

    def _goes_on(self, start: float) -> bool:
        cells = self.cells
        return stall_start(cells[mapping.SIGN], cells[mapping.BEAT], cells[mapping.PERIOD]) == start and cells[
            mapping.STATE
        ] in (
            mapping.STARTING,
            mapping.RUNNING,
        )

    def _over(self, episode: Episode, cpu: float) -> None:
        """The exact end is the app's to say, as is what only it could see once it ran again."""
        now = time.monotonic()
        self.ledger.step(now)
        self._evidence(episode, now + WAIT_FOR_LAST_S, last=True)
        self.gaps, gaps = self.shared.gaps_since(self.gaps)
        end = next((gap for gap in gaps if gap[0] == episode.start), None)
        duration_s = end[1] - end[0] if end is not None else now - episode.start
        if end is not None:
            episode.late_s = end[2]
        self._judge(episode, episode.start + duration_s, cpu, over=True)
        self._rule(episode, now + WAIT_FOR_RULE_S)
        self.story.ended(episode, duration_s)
        self.cells[mapping.TOLD_GAPS] = float(self.gaps)
        self.shared.verdict.write((episode.start, self._verdict(episode, duration_s)))
        for gap in gaps:
            if gap is not end:
                self._tell_missed(gap)

    def _rule(self, episode: Episode, until: float) -> None:
        """Ask the catalogue, and wait for its answer only while the loop beats."""
        seen = episode.guilty
        call = seen.call if seen is not None else None
        self.rules.ask(call)
        while True:
            found = self.rules.find(call)
            now = time.monotonic()
            cells = self.cells
            late = now - stall_start(cells[mapping.SIGN], cells[mapping.BEAT], cells[mapping.PERIOD])
            if found is not None:
                episode.rule, episode.remedy = found
            if found is not None or now >= until or late > self.threshold_s / 2:
                return
            self._death.wait(0.005)

    def _verdict(self, episode: Episode, duration_s: float) -> dict[str, Any]:
        return episode.event("stall_ended", duration_s, 0.0, {})

    def _judge(self, episode: Episode, now: float, cpu: float, over: bool = False) -> None:
        episode.cause = self.ledger.breakdown(now, cpu, self.cells[mapping.GC])
        episode.blame = blame(now - episode.start, episode.cause, self.threshold_s, over, episode.located)

    def _capture(self, episode: Episode, now: float) -> None:
        self.capture.number = int(self.cells[mapping.SIGNAL])
        self._asked += 1
        stack = self.capture.take(self.own)
        if stack and site(stack) is None:
            # The loop itself only waits: then another thread holds the GIL, and that one is busy.
            other = busiest(self.capture)
            stack = other.take(self.own) or stack
            if other is not self.capture:
                other.close()
        if stack:
            self.table.load(self.shared.table.read_new())
            known = None if self.cells[mapping.CALM] else self.shared.in_flight(mapping.SLOTS)
            route, proof = self.table.find(stack, known)
            self._captured.append(Sample(now, stack, route, proof))
            episode.add(self._captured[-1])

    def _ask_again(self, episode: Episode, now: float, cpu: float) -> None:
        """Where nobody has said anything yet: on a busy machine the loop's thread was not run in time to answer."""
        if episode.samples or self._asked >= ASKED:
            return
        self._capture(episode, now)
        if episode.samples:
            self._judge(episode, now, cpu)
            self.story.update(episode, now)

    def _in_flight(self) -> tuple[str, ...]:
        self.table.load(self.shared.table.read_new())
        return tuple(self.table.label(text) for text in self.shared.in_flight(IN_FLIGHT_SHOWN))

    def _evidence(self, episode: Episode, until: float, last: bool = False) -> None:
        """Merge what the app has published of this stall; with ``until`` wait for it that long."""
        while True:
            found = self.shared.evidence.read_new()
            if found is not None and found[0] == episode.start:
                _, samples, in_flight, final = found
                episode.samples = list(self._captured)
                for plain in samples:
                    episode.add(Sample(*plain))
                if in_flight:
                    episode.in_flight = in_flight
                if final or not last:
                    return
            if time.monotonic() >= until:
                return
            time.sleep(0.001)

    def _missed(self) -> None:
        """Stalls that were over before the observer, itself kept from running, could look."""
        self.gaps, gaps = self.shared.gaps_since(self.gaps)
        for gap in gaps:
            self._tell_missed(gap)
        self.cells[mapping.TOLD_GAPS] = float(self.gaps)

    def _tell_missed(self, gap: tuple[float, float, float]) -> None:
        start, end, late_s = gap
        if start == self.cells[mapping.TOLD]:
            return
        episode = Episode(start, self.threshold_s)
        episode.late_s = late_s
        self._captured = []
        self._evidence(episode, time.monotonic() + 0.02)
        self.ledger.begin(start, self.cells[mapping.CPU])
        self.ledger.step(end)
        self._judge(episode, end, self.cells[mapping.CPU], over=True)
        self.story.began(episode, start + self.threshold_s)
        self.story.ended(episode, end - start)

    def _gone(self) -> None:
        """The app's process has ended outside any stall; it has said so itself where it could."""
        cells, life, now = self.cells, self._life, time.monotonic()
        if cells[mapping.SAID]:
            return
        self.story.last_words(now)
        since_s = now - life.get("monotonic", now)
        seen = {
            "started_at": round(time.time() - since_s, 6),
            "ready_after_s": round(cells[mapping.READY], 6) or None,
            "watched_s": round(since_s, 6),
            "stalls": int(cells[mapping.GAPS]),
            "stalled_s": round(cells[mapping.STALLED_S], 6),
        }
        self.recorder.write(
            {"schema": SCHEMA, **life, **self.story.who, **seen, "event": "stopped", "clean": False}, durable=True
        )


class Death:
    """Waits, and wakes at once when the process is gone."""

    def __init__(self, pid: int, ticks: int) -> None:
        self.pid, self.ticks = pid, ticks
        self.happened = False
        self.awake_since = self.pulse_at = time.monotonic()
        """Since when this process has not been frozen itself, and when it last looked."""
        self._poll: select.poll | None = None
        try:
            fd = os.pidfd_open(pid)
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        except (OSError, AttributeError):  # before Linux 5.3, or forbidden
            self._poll = None
        if start_ticks(pid) != ticks:
            self.happened = True

    def wait(self, seconds: float) -> None:
        """Sleep that long, less if the process ends."""
        self.pulse_at = time.monotonic()
        if self._poll is not None:
            if self._poll.poll(max(1.0, seconds * 1000)):
                self.happened = True
        else:
            time.sleep(max(0.001, seconds))
            self.happened = start_ticks(self.pid) != self.ticks
        now = time.monotonic()
        if now - self.pulse_at > seconds + FROZEN_S:
            self.awake_since = now
        self.pulse_at = now


def warn(text: str) -> None:
    """Say something once on stderr, where the app's log goes too."""
    try_write(2, f"WARNING unstall  {text}\n".encode())


def main(arguments: list[str]) -> None:
    """Run as the observer: the file numbers of the mapping, of the dump and of the bell."""
    # A terminal's Ctrl-C and a supervisor's SIGTERM to the whole group end the app; what it leaves is told then.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"):
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    shared = Shared(int(arguments[0]))
    settings = shared.verdict.read_new()
    if settings is None:
        sys.exit(1)
    observer = Observer(shared, int(arguments[1]), int(arguments[2]), settings, int(arguments[0]))
    shared.cells[mapping.WATCHED_AT] = time.monotonic()
    shared.cells[mapping.WATCHING] = float(os.getpid())
    observer.watch()
