"""Facts of every file: from the cache where the content is the same, else read in parallel."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unstall import catalogue
from unstall.source import facts as f
from unstall.source.parallel import packed, read_all
from unstall.source.project import read_source

CACHE_DIR = ".unstall_cache"
FACTS, REPORT = "facts", "report"
_MAGIC = b"unstall-cache\n"
_DIGEST = 20
_RACY_NS = 2_000_000_000
"""A file changed this shortly before the cache was written may change again without its time moving."""

Entry = tuple[int, int, bytes, tuple[Any, ...], bytes]
"""Size, modification time, digest of the content, outline, facts."""


@dataclass(slots=True)
class Stored:
    """The facts of a project, by path; ``changed`` are those whose content is not what the cache had."""

    entries: dict[str, Entry]
    changed: frozenset[str]
    read: int
    same_files: bool

    def state(self, asked: str) -> bytes:
        """A digest of all that a report depends on; ``asked`` are the options."""
        rows = (path.encode() + entry[2] for path, entry in self.entries.items())
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
    written_ns, known = _load(root / CACHE_DIR / FACTS) if cached else (0, {})
    entries: dict[str, Entry] = {}
    todo: list[tuple[str, bytes, int, int]] = []
    for path in paths:
        entry = known.get(path)
        try:
            stat = os.stat(root / path)
        except OSError:
            stat = None
        unmoved = entry is not None and stat is not None and (stat.st_size, stat.st_mtime_ns) == entry[:2]
        if unmoved and entry is not None and entry[1] < written_ns - _RACY_NS:
            entries[path] = entry
            continue
        data = read_source(root / path)
        size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat is not None else (0, 0)
        if data is None:
            entries[path] = (size, mtime_ns, b"", *packed(f.unreadable("cannot be read, or larger than 4 MB", 0)))
        elif entry is not None and entry[2] == _digest(data):
            entries[path] = (size, mtime_ns, *entry[2:])
        else:
            todo.append((path, data, size, mtime_ns))
    read = len(todo)
    answers = read_all([data for _, data, _, _ in todo], jobs)
    for (path, data, size, mtime_ns), answer in zip(todo, answers, strict=True):
        entries[path] = (size, mtime_ns, _digest(data), *answer)
    del todo, answers
    changed = frozenset(path for path, entry in entries.items() if path not in known or known[path][2] != entry[2])
    same_files = entries.keys() == known.keys()
    if cached and (read or not same_files):
        save_pack(root / CACHE_DIR, FACTS, (version(), entries))
    return Stored(entries, changed, read, same_files)


def outline_of(entry: Entry) -> f.Outline:
    """The outline of one entry."""
    return f.Outline(*entry[3])


def facts_of(entry: Entry, properties: frozenset[str] | None = None) -> f.FileFacts:
    """Unpack one entry."""
    return unpacked(entry[4], properties)


def unpacked(packed_facts: bytes, properties: frozenset[str] | None = None) -> f.FileFacts:
    """The facts in what an entry keeps of them."""
    return f.from_plain(marshal.loads(packed_facts), properties)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


# --- the file on disk ---------------------------------------------------------------------------------


def _load(path: Path) -> tuple[int, dict[str, Entry]]:
    found = load_pack(path)
    if found is None or found[0] != version():
        return 0, {}
    return path.stat().st_mtime_ns, found[1]


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
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        handle, part = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _digest(payload))
                file.write(payload)
            os.replace(part, folder / name)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError:
        return
