"""Shares work out between this process and others like it; who is done takes the next piece.

A worker process gets piece after piece and answers each. It gets the next one when its answer has been read: given out
ahead, a piece and an answer that both fill their pipes would wait for each other. Where this process has no other thread
the workers are forks of it, which know all that it knows; else they are started anew and told once what all pieces need.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

_MOST_WORKERS = 8
_PIPE_BYTES = 1 << 20
_SWITCH_S = 0.001
"""How long a thread that has a worker's answer to fetch waits at most for the interpreter, which is busy here."""


def workers(jobs: int | None, pieces: int) -> int:
    """How many processes, this one included, take part."""
    return min(jobs or min(os.cpu_count() or 1, _MOST_WORKERS), pieces) if sys.executable else 1


def shared_out(
    pieces: Sequence[Any], work: Callable[[Any], Any], count: int, code: str, opening: Callable[[], bytes]
) -> list[Any]:
    """What ``work`` makes of every piece, in order; begun in this order by ``count`` processes.

    Others that are no forks run ``code``, which is to call `serve`; ``opening`` is what they are told first. Pieces and
    answers are made of what `marshal` knows. What a process does not deliver is done here: its loss costs time and nothing
    else.
    """
    todo = deque(range(len(pieces)))
    found: dict[int, Any] = {}
    threads: list[threading.Thread] = []
    interval_s = sys.getswitchinterval()
    if count > 1:
        sys.setswitchinterval(_SWITCH_S)
        peers: list[_Peer] = []
        forks = _may_fork()
        told = b"" if forks else opening()
        with contextlib.suppress(OSError):  # no more processes: those that there are do
            while len(peers) < count - 1:
                peers.append(_forked(work, peers) if forks else _started(code))
        for peer in peers:
            threads.append(threading.Thread(target=_elsewhere, args=(peer, told, pieces, todo, found)))
            threads[-1].start()
    try:
        while (number := _next(todo)) is not None:
            found[number] = work(pieces[number])
    finally:
        todo.clear()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval_s)
    for number, piece in enumerate(pieces):
        if number not in found:
            found[number] = work(piece)
    return [found[number] for number in range(len(pieces))]


def serve(begin: Callable[[Any], Callable[[Any], Any]]) -> None:
    """What a worker process does that is no fork: ``begin`` makes of the opening what does the pieces."""
    gc.disable()
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    _answer(begin(marshal.loads(_received(given))), given, answers)
    os._exit(0)  # to take all objects down one by one would take longer than many a piece


def _answer(work: Callable[[Any], Any], given: IO[bytes], answers: IO[bytes]) -> None:
    while data := _received(given):
        _send(answers, marshal.dumps(work(marshal.loads(data))))


def _next(todo: deque[int]) -> int | None:
    try:
        return todo.popleft()
    except IndexError:
        return None


class _Peer(NamedTuple):
    """Another process that does pieces."""

    given: IO[bytes]
    answers: IO[bytes]
    kill: Callable[[], object]
    wait: Callable[[], object]


def _may_fork() -> bool:
    """A fork of a process that has threads may hang, and macOS's own libraries bear none."""
    return sys.platform == "linux" and threading.active_count() == 1


def _forked(work: Callable[[Any], Any], earlier: Sequence[_Peer]) -> _Peer:
    opened: list[int] = []
    try:
        opened += os.pipe()
        opened += os.pipe()
        pid = os.fork()
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    pieces, given, answers, answered = opened
    if pid == 0:
        try:
            gc.disable()
            # Held open here, they would never end for those who read them.
            for fd in (given, answers, *(peer.given.fileno() for peer in earlier)):
                os.close(fd)
            _answer(work, os.fdopen(pieces, "rb"), os.fdopen(answered, "wb"))
        finally:
            os._exit(0)
    os.close(pieces)
    os.close(answered)
    return _Peer(
        os.fdopen(given, "wb"),
        os.fdopen(answers, "rb"),
        lambda: os.kill(pid, signal.SIGKILL),
        lambda: os.waitpid(pid, 0),
    )


def _started(code: str) -> _Peer:
    # Not multiprocessing: it runs the caller's main module again.
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return _Peer(process.stdin, process.stdout, process.kill, process.wait)


def _elsewhere(peer: _Peer, opening: bytes, pieces: Sequence[Any], todo: deque[int], found: dict[int, Any]) -> None:
    try:
        _widen(peer.given, peer.answers)
        if opening:
            _send(peer.given, opening)
        while (number := _next(todo)) is not None:
            _send(peer.given, marshal.dumps(pieces[number]))
            # Written a moment ago by our own process, and by nobody else.
            found[number] = marshal.loads(_received(peer.answers))
    except (OSError, ValueError, EOFError, TypeError):
        peer.kill()
    finally:
        with contextlib.suppress(OSError):
            peer.given.close()
        peer.answers.close()
        peer.wait()


def _widen(*pipes: IO[bytes]) -> None:
    """Have the pipes hold more, where that can be: each time they are full somebody waits."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        for pipe in pipes:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> bytes:
    """The next message; empty at the end of all. Raises EOFError where it is cut short."""
    head = pipe.read(8)
    if not head:
        return b""
    size = int.from_bytes(head, "little")
    data = pipe.read(size) if size < 1 << 40 else b""
    if len(head) < 8 or len(data) < size:
        raise EOFError
    return data


def _environment() -> dict[str, str]:
    """The environment of a worker process, which must find this very unstall."""
    environment = dict(os.environ)
    home = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [environment.get("PYTHONPATH")])])
    return environment
