"""Shares work out between this process and others like it; who is done takes the next piece.

A worker process is told once what all pieces need, then gets piece after piece and answers each. It gets the next one when
its answer has been read: given out ahead, a piece and an answer that both fill their pipes would wait for each other.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

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

    The others run ``code``, which is to call `serve`; ``opening`` is what they are told first. Pieces and answers are
    made of what `marshal` knows. What a process does not deliver is done here: its loss costs time and nothing else.
    """
    todo = deque(range(len(pieces)))
    found: dict[int, Any] = {}
    threads: list[threading.Thread] = []
    interval_s = sys.getswitchinterval()
    if count > 1:
        told = opening()
        sys.setswitchinterval(_SWITCH_S)
        for _ in range(count - 1):
            threads.append(threading.Thread(target=_elsewhere, args=(code, told, pieces, todo, found)))
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
    """What a worker process does: ``begin`` makes of the opening what does the pieces."""
    gc.disable()
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    work = begin(marshal.loads(_received(given)))
    while data := _received(given):
        _send(answers, marshal.dumps(work(marshal.loads(data))))
    sys.stdout.flush()
    os._exit(0)  # to take all objects down one by one would take longer than many a piece


def _next(todo: deque[int]) -> int | None:
    try:
        return todo.popleft()
    except IndexError:
        return None


def _elsewhere(code: str, opening: bytes, pieces: Sequence[Any], todo: deque[int], found: dict[int, Any]) -> None:
    # Not multiprocessing: forking a process that has threads may hang, and spawning runs the caller's main module again.
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError:
        return
    assert process.stdin is not None
    assert process.stdout is not None
    given, answers = process.stdin, process.stdout
    try:
        _widen(given, answers)
        _send(given, opening)
        while (number := _next(todo)) is not None:
            _send(given, marshal.dumps(pieces[number]))
            # Written a moment ago by our own process, and by nobody else.
            found[number] = marshal.loads(_received(answers))
    except (OSError, ValueError, EOFError, TypeError):
        process.kill()
    finally:
        with contextlib.suppress(OSError):
            given.close()
        answers.close()
        process.wait()


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
