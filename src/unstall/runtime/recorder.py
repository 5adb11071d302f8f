"""The flight recorder: one JSON object a line, appended in one write each."""

from __future__ import annotations

import os
from _json import encode_basestring_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SCHEMA = 1
LIMIT_BYTES = 10_000_000


class Recorder:
    """Appends events to a bounded file that several processes share; it never raises.

    At ``limit_bytes`` the file becomes ``<path>.1`` and a new one starts with the line ``totals`` returns.
    ``warn`` is called once, with a sentence, when nothing can be written.
    """

    def __init__(
        self,
        path: str,
        warn: Callable[[str], None],
        totals: Callable[[], Mapping[str, Any]] | None = None,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.path = path
        self.lost = 0
        self._warn = warn
        self._warned = False
        self._totals = totals
        self._limit = limit_bytes
        self._fd = -1

    def write(self, event: Mapping[str, Any], durable: bool = False) -> bool:
        """Append one event; with ``durable`` it is on the disk when this returns. False when it was lost."""
        if not self.path:
            return False
        data = encode(event)
        try:
            self._open(len(data))
            written = os.write(self._fd, data)
            if written < len(data):
                # A disk that fills in the middle leaves half a line: end it, so that the next one can be read.
                try_write(self._fd, b"\n")
                raise OSError(28, "no space left on device")
            if durable:
                os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)
            return True
        except OSError as error:
            self.lost += 1
            if not self._warned:
                self._warned = True
                self._warn(f"cannot write the record {self.path}: {error.strerror}; change UNSTALL_RECORD")
            return False

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open(self, more: int) -> None:
        """Have the file at ``path`` open, whoever rotated or removed it meanwhile."""
        if self._fd >= 0:
            mine = os.fstat(self._fd)
            try:
                there = os.stat(self.path)
            except FileNotFoundError:
                there = None
            if there is None or (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev):
                self.close()
            elif mine.st_size + more > self._limit and mine.st_size:
                self._rotate(mine)
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o644)

    def _rotate(self, mine: os.stat_result) -> None:
        import fcntl

        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            there = os.stat(self.path)
            if there.st_ino == mine.st_ino:
                os.replace(self.path, self.path + ".1")
        finally:
            self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o644)
        if self._totals is not None:
            os.write(self._fd, encode(self._totals()))


def try_write(fd: int, data: bytes) -> bool:
    """Write what can be written; False where nothing could."""
    try:
        return os.write(fd, data) > 0
    except OSError:
        return False


def encode(event: Mapping[str, Any]) -> bytes:
    """One event as a line of JSON: ASCII, so that no reader has to guess."""
    return to_json(event).encode("ascii") + b"\n"


def to_json(value: Any) -> str:
    """Plain types as JSON. The `json` package would double the observer's own memory."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        text: str = encode_basestring_ascii(value)
        return text
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if value - value == 0.0 else "null"
    if isinstance(value, dict):
        return "{" + ",".join(f"{to_json(str(key))}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    return to_json(str(value))
