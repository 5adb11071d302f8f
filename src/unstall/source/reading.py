"""Reads many sources, large numbers of them in several processes."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from unstall.source import facts as f
from unstall.source.decoding import decode
from unstall.source.parallel import serve, shared_out, workers
from unstall.source.syntax import read_plain

_PARALLEL_FROM_BYTES = 1_500_000
"""Below this the second process costs more than it saves."""
_PIECE_BYTES = 250_000
_FILE_BYTES = 2_000
"""What a file costs whatever is in it, as so many bytes more."""
_WORKER = "from unstall.source.reading import serve_sources; serve_sources()"

Packed = tuple[tuple[Any, ...], bytes]
"""A file's outline as a bare tuple, and the rest of its facts as bytes."""


def packed(plain: f.Plain) -> Packed:
    """Facts as they are kept."""
    return tuple(f.outline(plain)), marshal.dumps(plain)


def read_all(sources: Sequence[bytes], jobs: int | None = None) -> list[Packed]:
    """The packed facts of every source, in order."""
    pieces: list[list[bytes]] = []
    size = 0
    for data in sources:
        if not pieces or size >= _PIECE_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(data)
        size += len(data) + _FILE_BYTES
    count = workers(jobs, len(pieces)) if sum(map(len, sources)) >= _PARALLEL_FROM_BYTES else 1
    return [
        facts for piece in shared_out(pieces, _read, count, _WORKER, lambda: marshal.dumps(None)) for facts in piece
    ]


def serve_sources() -> None:
    """What a worker process does: from sources to facts."""
    serve(lambda _: _read)


def _read(sources: Sequence[bytes]) -> list[Packed]:
    return [packed(read_plain(decode(data))) for data in sources]
