"""Starting the observer process, and telling whether it lives."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import subprocess
import sys
import tempfile
from typing import Any

from unstall.runtime import mapping
from unstall.runtime.mapping import Shared

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Our own folder last: nothing installed beside us may stand in for a standard module.
_RUN = "import sys; sys.path.append(sys.argv[1]); from unstall.runtime.observer import main; main(sys.argv[2:])"
# Signals whose handler in this process is ours already, from the watch of an earlier loop.
_registered: set[int] = set()
START_WITHIN_S = 10.0
END_WITHIN_S = 5.0
BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 15.0, 60.0)


def anonymous_file(name: str) -> int:
    """A file without a name: in memory where the kernel can, else unlinked in the temporary folder."""
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create(name)
        except OSError:
            pass
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd


_dumps: dict[int, int] = {}


def dump_file() -> int:
    """The file this process's stacks go to: one for all its loops, since a signal has one handler."""
    pid = os.getpid()
    if pid not in _dumps:
        import fcntl

        _dumps[pid] = anonymous_file("unstall-dump")
        fcntl.fcntl(_dumps[pid], fcntl.F_SETFL, os.O_APPEND)
    return _dumps[pid]


class Link:
    """The app's side of the observer: starts it, starts it again, and says when it cannot."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self._map_fd = anonymous_file("unstall-map")
        os.ftruncate(self._map_fd, mapping.SIZE)
        self.shared = Shared(self._map_fd)
        self._dump_fd = dump_file()
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._next_try = 0.0
        self._started_at = 0.0
        self._wake, self._wake_fd = select.poll(), -1
        self._call_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if hasattr(os, "eventfd") else -1
        if self._call_fd >= 0:
            self._wake.register(self._call_fd, select.POLLIN)
        self.number = 0

    @property
    def alive(self) -> bool:
        """True when the observer runs and has taken up its watch."""
        process = self._process
        return process is not None and self.shared.cells[mapping.WATCHING] == process.pid and process.poll() is None

    @property
    def hopeless(self) -> bool:
        """True when it never came up."""
        return self._failures >= 2 and not self.alive

    def tend(self, now: float) -> None:
        """Start the observer where there is none; called often, from the sampler's thread."""
        process = self._process
        if process is not None:
            if process.poll() is None:
                up = self.shared.cells[mapping.WATCHING] == process.pid
                if up or now - self._started_at < START_WITHIN_S:
                    self._failures = 0 if up and now - self._started_at > 60 else self._failures
                    return
                process.kill()
                process.wait()
            self._process = None
            self._failures += 1
            self._next_try = now + BACK_OFF_S[min(self._failures - 1, len(BACK_OFF_S) - 1)]
        if now >= self._next_try:
            self._start(now)

    def _start(self, now: float) -> None:
        self._no_wake()
        self.shared.cells[mapping.WATCHING] = 0.0
        self.shared.verdict.write(self.settings)
        self._started_at = now
        self._wake_fd, bell = os.pipe()
        self._wake.register(self._wake_fd, select.POLLIN)
        files = (self._map_fd, self._dump_fd, bell)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _RUN, _ROOT, *map(str, files)],
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Out of the app's process group: what kills the group must not kill the witness.
                start_new_session=True,
            )
        except (OSError, ValueError):
            self._process = None
            self._failures += 1
            self._next_try = now + BACK_OFF_S[min(self._failures - 1, len(BACK_OFF_S) - 1)]
        finally:
            os.close(bell)

    def end(self) -> None:
        """The watch is over: let go of the observer, which ends by itself, and of what was shared with it."""
        if self._process is not None:
            try:
                self._process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._no_wake()
        self._call_fd, call_fd = -1, self._call_fd
        self._map_fd, map_fd = -1, self._map_fd
        for fd in (call_fd, map_fd):
            if fd >= 0:
                os.close(fd)

    def register(self, number: int) -> None:
        """Make the capture signal harmless, then say so; not where somebody else uses it already."""
        if not number or signal.getsignal(number) is not signal.SIG_DFL:
            return
        if number not in _registered and _is_caught(number):
            return
        try:
            faulthandler.register(number, file=self._dump_fd, all_threads=False, chain=False)
        except (OSError, RuntimeError, ValueError):
            return
        _registered.add(number)
        self.number = number
        self.shared.cells[mapping.SIGNAL] = float(number)

    def rest(self, seconds: float) -> None:
        """Sleep until the observer sees a stall or dies, or somebody calls; at most that long."""
        for fd, _ in self._wake.poll(max(1.0, seconds * 1000)):
            if not os.read(fd, 64):
                self._no_wake()
                if self._process is not None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(1)  # what it had open is closed a moment before it can be buried

    def call(self) -> None:
        """End the sampler's rest; called on any thread."""
        if self._call_fd >= 0:
            os.eventfd_write(self._call_fd, 1)

    def _no_wake(self) -> None:
        if self._wake_fd >= 0:
            self._wake.unregister(self._wake_fd)
            os.close(self._wake_fd)
            self._wake_fd = -1


def _is_caught(number: int) -> bool:
    """True when a handler is there already, a C library's included; also when that cannot be read."""
    try:
        with open("/proc/self/status", "rb") as f:
            text = f.read()
    except OSError:
        return True
    at = text.find(b"\nSigCgt:")
    return at < 0 or bool(int(text[at + 8 :].split(None, 1)[0], 16) & (1 << (number - 1)))
