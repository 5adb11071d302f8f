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
# Not all requests are looked at (see `beat`), and how many of those are open; both by the app too.
CALM, UNSEEN = 12, 13
# Seconds of all stalls that are over; whether the last record of the process is written.
STALLED_S, SAID = 14, 15
# Written by the observer.
WATCHING, WATCHED_AT = 16, 17
# How many of the stalls that are over were told; by whoever tells, so that a new observer takes up from there.
TOLD_GAPS = 18
# Sequence and length of each blob.
EVIDENCE_CELL, VERDICT_CELL, TABLE_CELL = 24, 27, 30
REPORT_CELL, HOLDERS_CELL = 33, 36
# Seconds from the last beat to the next; by the app.
PERIOD = 19
# Written by the app: its thread pool, what its server says of itself, how late the heartbeat was.
POOL_USED, POOL_TOTAL, POOL_WAITING, POOL_FULL_SINCE, POOL_FULLS = range(39, 44)
SERVING, LEAVING = 44, 45
LAG_SUM, LAG = 46, 47
LAG_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the lateness buckets, one cell each from `LAG` on, with one more for what is later still."""
CELLS = 64

# Values of the STATE cell.
IDLE, STARTING, RUNNING, STOPPED = 0.0, 1.0, 2.0, 3.0
# Values of the SERVING cell: not known, not yet, accepting connections.
UNKNOWN, NOT_YET, ACCEPTING = 0.0, 1.0, 2.0

RING = 32
SLOTS, SLOT_BYTES = 256, 160
_GAPS_AT = CELLS * 8
_SLOTS_AT = _GAPS_AT + RING * 24
_BLOB_BYTES, _TABLE_BYTES = 65_536, 1_048_576
_EVIDENCE_AT = _SLOTS_AT + SLOTS * SLOT_BYTES
_VERDICT_AT = _EVIDENCE_AT + _BLOB_BYTES
_TABLE_AT = _VERDICT_AT + _BLOB_BYTES
_REPORT_AT = _TABLE_AT + _TABLE_BYTES
_REPORT_BYTES, _HOLDERS_BYTES = 524_288, 16_384
_HOLDERS_AT = _REPORT_AT + _REPORT_BYTES
SIZE = _HOLDERS_AT + _HOLDERS_BYTES
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
        # Odd: being written. Whoever wrote before may have been killed in the middle, at an odd number.
        cells[cell] = cells[cell] // 2 * 2 + 1.0
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
        self.report = Blob(self, REPORT_CELL, _REPORT_AT, _REPORT_BYTES)
        self.holders = Blob(self, HOLDERS_CELL, _HOLDERS_AT, _HOLDERS_BYTES)
        self._free = list(range(_SLOTS_AT, _EVIDENCE_AT, SLOT_BYTES))[::-1]

    def disown(self) -> None:
        """In a forked child: what it writes from now on reaches nobody."""
        self.bytes = mmap.mmap(-1, SIZE)
        self.cells = memoryview(self.bytes)[: CELLS * 8].cast("d")
        self._ring = memoryview(self.bytes)[_GAPS_AT:_SLOTS_AT].cast("d")

    def add_gap(self, start: float, end: float, late_s: float) -> None:
        """Note a stall that is over."""
        count = int(self.cells[GAPS])
        at = count % RING * 3
        self._ring[at], self._ring[at + 1], self._ring[at + 2] = start, end, late_s
        self.cells[STALLED_S] += end - start
        self.cells[GAPS] = count + 1.0

    def add_lag(self, late_s: float) -> None:
        """Count how late a heartbeat was."""
        cells = self.cells
        if late_s < 0.005:
            cells[LAG] += 1.0
            cells[LAG_SUM] += late_s if late_s > 0.0 else 0.0
            return
        bucket = 1
        while bucket < len(LAG_BOUNDS_S) and late_s > LAG_BOUNDS_S[bucket]:
            bucket += 1
        cells[LAG + bucket] += 1.0
        cells[LAG_SUM] += late_s

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
