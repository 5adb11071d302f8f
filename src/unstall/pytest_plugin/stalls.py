"""Finds the times when a loop did not come round, whatever held it: a thread looks at every running loop."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from unstall.pytest_plugin.loops import Loops, Running

_LATE_LOOKS = 4
"""So many looks in the shortest stall that is told of."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """A loop did not come round from ``started_at`` to ``ended_at``. ``places`` are module, path, line and function of the
    frames it was in, innermost first; time for which the machine ran others instead is not in ``blocked_s``."""

    started_at: float
    ended_at: float
    blocked_s: float
    places: tuple[tuple[str, str, int, str], ...]


@dataclass(slots=True)
class _Suspicion:
    """A loop that was asked to answer and has not yet."""

    running: Running
    asked_at: float
    waited_s: float
    places: tuple[tuple[str, str, int, str], ...] = ()
    answered_at: float = 0.0


class Watcher(threading.Thread):
    """Looks at the loops; ``told`` is called on this thread for every stall of ``shortest_s`` and more."""

    def __init__(self, loops: Loops, shortest_s: float, told: Callable[[Stalled], None]) -> None:
        super().__init__(name="unstall: is the loop blocked?", daemon=True)
        self.loops, self.shortest_s, self.told = loops, shortest_s, told
        self._suspicions: dict[int, _Suspicion] = {}
        self._cpu_s: dict[int, tuple[Running, float]] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Look until told to stop."""
        pause_s = self.shortest_s / _LATE_LOOKS
        due_at = time.monotonic() + pause_s
        while not self._done.wait(pause_s):
            with self._lock:
                self._look(due_at)
            due_at = time.monotonic() + pause_s

    def settle(self) -> None:
        """Judge what can be judged by now; for the end of a test. A look under way ends first: it may have seen a stall."""
        with self._lock:
            if self._suspicions:
                self._answers(time.monotonic(), sys._current_frames())

    def stop(self) -> None:
        """Look no more; what is under way is settled first."""
        self._done.set()
        self.join()
        self.settle()

    def _look(self, due_at: float) -> None:
        # Taken together: from the first file that is read on, a loop's thread goes on and may end.
        now, frames = time.monotonic(), sys._current_frames()
        loops = [(i, running, self._spent_s(i, running)) for i, running in list(self.loops.running.items())]
        self._answers(now, frames)
        for ident, running, spent_s in loops:
            if ident in self._suspicions or ident not in frames or not _busy(frames[ident], running.frame):
                continue
            # Where this thread is late because the loop's thread held the interpreter, the stall began before the look:
            # what that thread computed meanwhile is counted, not what the machine gave to others.
            pause_s = self.shortest_s / _LATE_LOOKS
            held = now - due_at > pause_s and spent_s > pause_s
            since = max(due_at, now - spent_s) if held else now
            self._ask(ident, running, since, now, frames[ident] if held else None)

    def _answers(self, now: float, frames: dict[int, FrameType]) -> None:
        for ident, suspicion in list(self._suspicions.items()):
            if suspicion.answered_at or self.loops.running.get(ident) is not suspicion.running:
                del self._suspicions[ident]
                self._judge(suspicion, suspicion.answered_at or now)
            elif now - suspicion.asked_at >= self.shortest_s / 2 and not suspicion.places and ident in frames:
                suspicion.places = _places(frames[ident], suspicion.running.frame)

    def _spent_s(self, ident: int, running: Running) -> float:
        """CPU time of a loop's thread since the last look, or since the loop began."""
        try:
            now_s = time.clock_gettime(time.pthread_getcpuclockid(ident))
        except (AttributeError, OSError):
            return 0.0
        known, before_s = self._cpu_s.get(ident, (None, 0.0))
        self._cpu_s[ident] = running, now_s
        return now_s - (before_s if known is running else running.cpu_s)

    def _ask(self, ident: int, running: Running, since: float, now: float, frame: FrameType | None) -> None:
        places = () if frame is None else _places(frame, running.frame)
        suspicion = _Suspicion(running, since, _waited_s(running.native_id), places)

        def answer() -> None:
            suspicion.answered_at = time.monotonic()

        try:
            running.loop.call_soon_threadsafe(answer)
            self._suspicions[ident] = suspicion
        except Exception:  # It is closed by now, or a test's own: what was seen up to this look stands.
            self._judge(suspicion, now)

    def _judge(self, suspicion: _Suspicion, ended_at: float) -> None:
        lost_s = max(0.0, _waited_s(suspicion.running.native_id) - suspicion.waited_s)
        blocked_s = ended_at - suspicion.asked_at - lost_s
        if blocked_s >= self.shortest_s * (1 - 1 / _LATE_LOOKS):
            self.told(Stalled(suspicion.asked_at, ended_at, blocked_s, suspicion.places))


def _busy(frame: FrameType, boundary: FrameType) -> bool:
    """True where the loop's thread is in a callback, not in the loop's own waiting."""
    from unstall.pytest_plugin.chains import up_to_loop

    first = next(up_to_loop(frame, boundary), None)
    return first is not None and first.f_globals.get("__name__") != "selectors"


def _places(frame: FrameType, boundary: FrameType) -> tuple[tuple[str, str, int, str], ...]:
    from unstall.pytest_plugin.chains import up_to_loop

    return tuple(
        (
            at.f_globals.get("__name__") or "",
            at.f_code.co_filename,
            at.f_lineno or 0,
            at.f_code.co_qualname.replace(".<locals>", ""),
        )
        for at in up_to_loop(frame, boundary)
    )


def _waited_s(native_id: int) -> float:
    """How long a thread has waited for a CPU so far; 0.0 where the system does not say."""
    try:
        with open(f"/proc/self/task/{native_id}/schedstat", encoding="ascii") as told:
            return int(told.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
