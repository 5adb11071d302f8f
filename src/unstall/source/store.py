"""Facts of every file: from the cache where the content is the same, else read in parallel."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unstall import catalogue
from unstall.source import facts as f
from unstall.source.project import read_source
from unstall.source.reading import packed, read_all

CACHE_DIR = ".unstall_cache"
FACTS, EDITS, REPORT = "facts", "edits", "report"
_MAGIC = b"unstall-cache\n"
_DIGEST = 20
_RACY_NS = 2_000_000_000
"""A file changed this shortly before the cache was written may change again without its time moving."""
_FEW, _FEW_OF = 8, 20
"""So many edited files, or one in so many, are kept beside the facts of all: those are not written again."""

Entry = tuple[int, int, bytes, tuple[Any, ...], Any]
"""Size, modification time, digest of the content, outline, and the facts: as bytes, or where they are on disk."""


@dataclass(slots=True)
class Stored:
    """The facts of a project, by path.

    ``base`` are the entries that the file ``facts`` has; what changed since is in ``edits``. ``read`` files were parsed
    now. ``keeps`` is True where what follows from the facts may be kept beside them.
    """

    root: Path
    entries: dict[str, Entry]
    base: dict[str, Entry]
    read: int
    disk: Disk | None = None
    keeps: bool = False
    damaged: bool = False

    def state(self, asked: str) -> bytes:
        """A digest of all that a report depends on; ``asked`` are the options."""
        return _state(self.entries, asked)

    def base_state(self, asked: str) -> bytes:
        """The same of the files as they were when all facts were written."""
        return _state(self.base, asked)

    def changed(self) -> list[str]:
        """The paths whose content is not what the base has."""
        if self.entries.keys() != self.base.keys():
            return sorted(self.entries)
        return [path for path, entry in self.entries.items() if entry[2] != self.base[path][2]]

    def body(self, path: str, entry: Entry | None = None) -> bytes:
        """The packed facts of one file; read from its source where those on disk are damaged."""
        entry = entry or self.entries[path]
        if isinstance(entry[4], bytes):
            return entry[4]
        found = self.disk.body(*entry[4]) if self.disk is not None else None
        if found is None:
            self.damaged = True
            self.read += 1
            found = read_all([read_source(self.root / path) or b""])[0][1]
        return found

    def anchor(self) -> None:
        """Make what the files are now the base."""
        if not self.changed() and not self.damaged:
            return
        rows = {path: (*entry[:4], self.body(path)) for path, entry in self.entries.items()}
        _save_all(self.root, rows)
        self.base, self.entries = rows, rows


def _state(entries: dict[str, Entry], asked: str) -> bytes:
    rows = (path.encode() + entry[2] for path, entry in entries.items())
    return _digest(b"\n".join((version().encode(), asked.encode(), *rows)))


@cache
def version() -> str:
    """What the cache depends on besides content: this Python, and the very files of unstall that read and judge."""
    state = [f"{f.SCHEMA} {sys.implementation.cache_tag} {sys.version}"]
    for folder in (Path(__file__).parent, Path(catalogue.__file__).parent):
        for path in sorted(folder.iterdir()):
            stat = path.stat()
            if path.is_file():
                state.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    return _digest("\n".join(state).encode()).hex()[:16]


def collect(root: Path, paths: list[str], cached: bool = True, jobs: int | None = None) -> Stored:
    """The facts of these files."""
    disk = Disk.opened(root / CACHE_DIR / FACTS) if cached else None
    base = disk.entries if disk is not None else {}
    edits = load_pack(root / CACHE_DIR / EDITS) if disk is not None else None
    apart: dict[str, Entry] = edits[1] if edits is not None and disk is not None and edits[0] == disk.digest else {}
    entries: dict[str, Entry] = {}
    todo: list[tuple[str, bytes, int, int, bytes]] = []
    for path in paths:
        entry = apart.get(path) or base.get(path)
        full = os.path.join(root, path)
        try:
            stat = os.stat(full)
        except OSError:
            stat = None
        unmoved = entry is not None and stat is not None and (stat.st_size, stat.st_mtime_ns) == entry[:2]
        if unmoved and entry is not None and disk is not None and entry[1] < disk.written_ns - _RACY_NS:
            entries[path] = entry
            continue
        data = read_source(full)
        size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat is not None else (0, 0)
        if data is None:
            entries[path] = (size, mtime_ns, b"", *packed(f.unreadable("cannot be read, or larger than 4 MB", 0)))
            continue
        digest = _digest(data)
        same = next((e for e in (entry, base.get(path)) if e is not None and e[2] == digest), None)
        if same is not None:
            entries[path] = (size, mtime_ns, *same[2:])
        else:
            todo.append((path, data, size, mtime_ns, digest))
    answers = read_all([data for _, data, *_ in todo], jobs)
    for (path, _, size, mtime_ns, digest), answer in zip(todo, answers, strict=True):
        entries[path] = (size, mtime_ns, digest, *answer)
    stored = Stored(root, entries, base, len(todo), disk, cached)
    if cached:
        _save(stored, apart)
    return stored


def _save(stored: Stored, apart: dict[str, Entry]) -> None:
    """Keep what was read now: beside the facts of all where it is little."""
    changed = stored.changed()
    if stored.disk is None or stored.entries.keys() != stored.base.keys() or _are_many(changed, stored):
        stored.anchor()
    elif changed != sorted(apart) or stored.read:
        edits = {path: stored.entries[path] for path in changed}
        save_pack(stored.root / CACHE_DIR, EDITS, (stored.disk.digest, edits))


def _are_many(changed: list[str], stored: Stored) -> bool:
    return len(changed) > max(_FEW, len(stored.base) // _FEW_OF)


def outline_of(entry: Entry) -> f.Outline:
    """The outline of one entry."""
    return f.Outline(*entry[3])


def unpacked(packed_facts: bytes, properties: frozenset[str] | None = None) -> f.FileFacts:
    """The facts in what an entry keeps of them."""
    return f.from_plain(marshal.loads(packed_facts), properties)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


# --- the file on disk ---------------------------------------------------------------------------------


class Disk:
    """The file of all facts: a head with everything but the facts themselves, which are read where they are needed."""

    def __init__(self, fd: int, head: tuple[str, dict[str, Entry]], digest: bytes, start: int) -> None:
        self._fd, self._start = fd, start
        self.entries, self.digest = head[1], digest
        self.written_ns = os.fstat(fd).st_mtime_ns

    @classmethod
    def opened(cls, path: Path) -> Disk | None:
        """None where there is none, or it is damaged or of another version."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        first = len(_MAGIC) + _DIGEST + 8
        opening = os.pread(fd, first, 0)
        size = (
            int.from_bytes(opening[-8:], "little") if opening[: len(_MAGIC)] == _MAGIC and len(opening) == first else 0
        )
        data = os.pread(fd, size, first) if 0 < size <= os.fstat(fd).st_size else b""
        digest = opening[len(_MAGIC) : -8]
        # marshal trusts its input, so only what has the digest it was written with is given to it.
        if not data or digest != _digest(data):
            os.close(fd)
            return None
        head = marshal.loads(data)
        if head[0] != version():
            os.close(fd)
            return None
        return cls(fd, head, digest, first + size)

    def body(self, offset: int, length: int, checksum: int) -> bytes | None:
        """The packed facts of one file; None where they are damaged."""
        data = os.pread(self._fd, length, self._start + offset)
        return data if len(data) == length and zlib.crc32(data) == checksum else None

    def __del__(self) -> None:
        os.close(self._fd)


def _save_all(root: Path, entries: dict[str, Entry]) -> None:
    """Write the facts of all files."""
    offset, rows, bodies = 0, {}, []
    for path, entry in entries.items():
        body = entry[4]
        rows[path] = (*entry[:4], (offset, len(body), zlib.crc32(body)))
        offset += len(body)
        bodies.append(body)
    head = marshal.dumps((version(), rows))
    _write(root / CACHE_DIR, FACTS, [_MAGIC, _digest(head), len(head).to_bytes(8, "little"), head, *bodies])


def load_pack(path: Path) -> Any:
    """What a pack holds; None where there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST
    # marshal trusts its input, so only what has the digest it was written with is given to it.
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : head] != _digest(data[head:]):
        return None
    return marshal.loads(data[head:])


def save_pack(folder: Path, name: str, content: Any) -> None:
    """Write a pack whole or not at all; a folder that cannot be written to only costs time."""
    payload = marshal.dumps(content)
    _write(folder, name, [_MAGIC, _digest(payload), payload])


def _write(folder: Path, name: str, pieces: list[bytes]) -> None:
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        handle, part = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(pieces)
            os.replace(part, folder / name)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError:
        return
