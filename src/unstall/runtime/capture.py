"""The loop thread's stack from outside, by a signal that the app has made harmless first.

The signal's default action kills. So it is sent only to the thread that registered for it, and only while
that thread's process is the same one (start time), still has a handler for it (`SigCgt`: an exec drops it) and
does not block it. When any of this cannot be read, nothing is sent.
"""

from __future__ import annotations

import os
import time

from unstall.runtime.cause import Books, start_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from unstall.runtime.evidence import Line

PATIENCE_S = 0.02
_SYS_TGKILL = {"x86_64": 234, "aarch64": 131, "riscv64": 131, "s390x": 241, "ppc64le": 250, "i686": 270}


class Capture:
    """Asks one thread for its stack; ``dump_fd`` is the file its handler writes to."""

    def __init__(self, pid: int, tid: int, ticks: int, number: int, dump_fd: int, books: Books) -> None:
        self.pid, self.tid, self.ticks, self.number = pid, tid, ticks, number
        self.dump_fd = dump_fd
        self._books = books

    def allowed(self) -> bool:
        """True when the signal is certain to be caught."""
        if not self.number or not self.ticks or start_ticks(self.pid) != self.ticks:
            return False
        status = self._books.status()
        bit = 1 << (self.number - 1)
        caught, blocked = _mask(status, b"\nSigCgt:"), _mask(status, b"\nSigBlk:")
        stopped = self._books.state() in ("T", "t", "Z", "X", "")
        return bool(caught & bit) and not blocked & bit and not stopped

    def take(self, own: Container[str]) -> tuple[Line, ...]:
        """The frames innermost first; none where asking was not allowed or no answer came in time."""
        if not self.allowed():
            return ()
        offset = os.fstat(self.dump_fd).st_size
        if not self._send():
            return ()
        text, size, until = b"", 0, time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            time.sleep(0.0004)
            grown = os.fstat(self.dump_fd).st_size - offset
            if grown and grown == size:
                text = os.pread(self.dump_fd, size, offset)
                if text.endswith(b"\n"):
                    break
            size = grown
        if size > 0 and offset + size > 262_144:
            os.ftruncate(self.dump_fd, 0)
        return parse(text.decode("utf-8", "replace"), own)

    def close(self) -> None:
        """Close the accounts it reads."""
        self._books.close()

    def _send(self) -> bool:
        try:
            if self.tid == self.pid:
                # The kernel prefers the first thread where it does not block the signal, which was checked.
                os.kill(self.pid, self.number)
            else:
                _tgkill(self.pid, self.tid, self.number)
        except OSError:
            return False
        return True


def busiest(capture: Capture, within_s: float = 0.006) -> Capture:
    """The same for the thread of that process that runs most, which may be the same one."""
    before = _ran(capture.pid)
    time.sleep(within_s)
    after = _ran(capture.pid)
    spent = {tid: after[tid] - before.get(tid, after[tid]) for tid in after}
    tid = max(spent, key=lambda t: spent[t], default=capture.tid)
    if tid == capture.tid or spent[tid] <= 0:
        return capture
    return Capture(capture.pid, tid, capture.ticks, capture.number, capture.dump_fd, Books(capture.pid, tid))


def _ran(pid: int) -> dict[int, int]:
    """Nanoseconds each thread has run."""
    found: dict[int, int] = {}
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{name}/schedstat", "rb") as f:
                found[int(name)] = int(f.read().split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return found


def parse(text: str, own: Container[str]) -> tuple[Line, ...]:
    """The last stack in what `faulthandler` wrote."""
    lines: list[Line] = []
    for row in text.splitlines():
        if row.startswith(("Stack (", "Current thread ", "Thread ")):
            lines = []
        elif row.startswith('  File "') and '", line ' in row:
            path, _, rest = row[8:].rpartition('", line ')
            number, _, function = rest.partition(" in ")
            lines.append((path, int(number) if number.isdigit() else 0, function, path in own))
    return tuple(lines)


def _mask(status: bytes, key: bytes) -> int:
    at = status.find(key)
    return int(status[at + len(key) :].split(None, 1)[0], 16) if at >= 0 else 0


def _tgkill(pid: int, tid: int, number: int) -> None:
    """To one thread; `ctypes` is loaded only where the loop runs outside the first thread."""
    import ctypes

    call = _SYS_TGKILL.get(os.uname().machine)
    if call is None:
        raise OSError("no tgkill known here")
    if ctypes.CDLL(None, use_errno=True).syscall(call, pid, tid, number) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")
