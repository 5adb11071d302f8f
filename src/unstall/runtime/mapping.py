"""The memory that the app and its observer share: beats, gaps, requests in flight, evidence."""

from __future__ import annotations

import binascii
import marshal
import mmap
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Cells: eight-byte floats, each written by one side only, so that none needs a lock.
# Written by the app; TOLD is the start of the last stall that it tells of itself, no observer being there.
SIGN, BEAT, CPU, STATE, READY, THREAD, PID, TICKS, SIGNAL, GC, GAPS, TOLD = range(12)
# Written by the observer.
WATCHING, WATCHED_AT = 16, 17
# Sequence and length of each blob.
EVIDENCE_CELL, VERDICT_CELL, TABLE_CELL = 24, 27, 30
CELLS = 64

# Values of the STATE cell.
IDLE, STARTING, RUNNING, STOPPED = 0.0, 1.0, 2.0, 3.0

RING = 32
SLOTS, SLOT_BYTES = 256, 160
_GAPS_AT = CELLS * 8
_SLOTS_AT = _GAPS_AT + RING * 24
_BLOB_BYTES, _TABLE_BYTES = 65_536, 1_048_576
_EVIDENCE_AT = _SLOTS_AT + SLOTS * SLOT_BYTES
_VERDICT_AT = _EVIDENCE_AT + _BLOB_BYTES
_TABLE_AT = _VERDICT_AT + _BLOB_BYTES
SIZE = _TABLE_AT + _TABLE_BYTES
_fill = struct.Struct(f"{SLOT_BYTES - 1}sx").pack_into
"""Writes a slot whole, cut or filled up with zeros; half the cost of a slice."""


class Blob:
    """A value that one side writes whole and the other reads whole, or not at all."""

    def __init__(self, shared: Shared, cell: int, at: int, limit: int) -> None:
        self._bytes, self._cells = shared.bytes, shared.cells
        self._cell, self._at, self._limit = cell, at, limit
        self._seen = 0.0

    def write(self, value: Any) -> bool:
        """Put a value of plain types; False where it is too long."""
        data = marshal.dumps(value)
        if len(data) > self._limit:
            return False
        cells, cell = self._cells, self._cell
        cells[cell] += 1.0  # odd: being written
        self._bytes[self._at : self._at + len(data)] = data
        cells[cell + 1] = float(len(data))
        cells[cell + 2] = float(binascii.crc32(data))
        cells[cell] += 1.0
        return True

    def read_new(self) -> Any:
        """The value where it was written since the last call and can be read whole, else None."""
        sequence = self._cells[self._cell]
        if sequence == self._seen or sequence % 2:
            return None
        data = self._bytes[self._at : self._at + int(self._cells[self._cell + 1])]
        if float(binascii.crc32(data)) != self._cells[self._cell + 2]:
            return None
        self._seen = sequence
        return marshal.loads(data)


class Shared:
    """The mapping itself; without ``fd`` it is this process's alone."""

    def __init__(self, fd: int = -1) -> None:
        self.bytes = mmap.mmap(fd, SIZE)
        self.cells = memoryview(self.bytes)[: CELLS * 8].cast("d")
        self._ring = memoryview(self.bytes)[_GAPS_AT:_SLOTS_AT].cast("d")
        self.evidence = Blob(self, EVIDENCE_CELL, _EVIDENCE_AT, _BLOB_BYTES)
        self.verdict = Blob(self, VERDICT_CELL, _VERDICT_AT, _BLOB_BYTES)
        self.table = Blob(self, TABLE_CELL, _TABLE_AT, _TABLE_BYTES)
        self._free = list(range(_SLOTS_AT, _EVIDENCE_AT, SLOT_BYTES))[::-1]

    def add_gap(self, start: float, end: float, late_s: float) -> None:
        """Note a stall that is over."""
        count = int(self.cells[GAPS])
        at = count % RING * 3
        self._ring[at], self._ring[at + 1], self._ring[at + 2] = start, end, late_s
        self.cells[GAPS] = count + 1.0

    def gaps_since(self, count: int) -> tuple[int, list[tuple[float, float, float]]]:
        """How many stalls were over so far, and those after the first ``count`` as start, end, lateness."""
        total = int(self.cells[GAPS])
        found = []
        for i in range(max(count, total - RING), total):
            at = i % RING * 3
            found.append((self._ring[at], self._ring[at + 1], self._ring[at + 2]))
        return total, found

    def enter(self, label: str) -> int:
        """Note a request in flight; its slot, 0 where none is free."""
        if not self._free:
            return 0
        at = self._free.pop()
        _fill(self.bytes, at, label.encode("utf-8", "replace"))
        return at

    def leave(self, at: int) -> None:
        """The request in this slot is over."""
        if at:
            self.bytes[at] = 0
            self._free.append(at)

    def in_flight(self, limit: int) -> list[str]:
        """What the slots hold, at most ``limit``."""
        found = []
        for at in range(_SLOTS_AT, _EVIDENCE_AT, SLOT_BYTES):
            if self.bytes[at]:
                text = self.bytes[at : at + SLOT_BYTES]
                found.append(text[: text.find(b"\0")].decode("utf-8", "replace"))
                if len(found) >= limit:
                    break
        return found
