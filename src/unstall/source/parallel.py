"""Reads many sources in several processes."""

from __future__ import annotations

import gc
import marshal
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unstall.source import facts as f
from unstall.source.decoding import decode
from unstall.source.syntax import read_facts

_PARALLEL_FROM_BYTES = 1_500_000
"""Below this the second process costs more than it saves."""
_MOST_WORKERS = 8
_WORKER = "from unstall.source.parallel import serve; serve()"


Packed = tuple[tuple[Any, ...], bytes]
"""A file's outline as a bare tuple, and the rest of its facts as bytes."""


def packed(facts: f.FileFacts) -> Packed:
    """Facts as they are kept."""
    return tuple(f.outline(facts)), marshal.dumps(f.to_plain(facts))


def read_all(sources: Sequence[bytes], jobs: int | None = None) -> list[Packed]:
    """The packed facts of every source, in order."""
    workers = jobs or min(os.cpu_count() or 1, _MOST_WORKERS)
    if workers < 2 or not sys.executable or sum(map(len, sources)) < _PARALLEL_FROM_BYTES:
        return [_read_one(data) for data in sources]
    shares: list[list[int]] = [[] for _ in range(workers)]
    sizes = [0] * workers
    for number in sorted(range(len(sources)), key=lambda n: -len(sources[n])):
        least = sizes.index(min(sizes))
        shares[least].append(number)
        sizes[least] += len(sources[number]) + 2_000
    found: dict[int, Packed] = {}
    threads = []
    for share in shares[1:]:
        thread = threading.Thread(target=_elsewhere, args=(share, sources, found))
        thread.start()
        threads.append(thread)
    for number in shares[0]:
        found[number] = _read_one(sources[number])
    for thread in threads:
        thread.join()
    # Whatever a worker did not deliver is read here: a lost process costs time, not findings.
    return [found[n] if n in found else _read_one(data) for n, data in enumerate(sources)]


def worker_environment() -> dict[str, str]:
    """The environment of a worker process, which must find this very unstall."""
    environment = dict(os.environ)
    home = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [environment.get("PYTHONPATH")])])
    return environment


def _elsewhere(share: list[int], sources: Sequence[bytes], found: dict[int, Packed]) -> None:
    # Not multiprocessing: forking a process that has threads may hang, and spawning runs the caller's main module again.
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WORKER],
            input=marshal.dumps([sources[n] for n in share]),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(),
            check=True,
        )
        answers = marshal.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, EOFError, TypeError):
        return
    if isinstance(answers, list) and len(answers) == len(share):
        found.update(zip(share, answers, strict=True))


def serve() -> None:
    """What a worker process does: sources on standard input, facts on standard output."""
    gc.disable()
    sources = marshal.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(marshal.dumps([_read_one(data) for data in sources]))


def _read_one(data: bytes) -> Packed:
    return packed(read_facts(decode(data)))
