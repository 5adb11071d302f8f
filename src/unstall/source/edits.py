"""Text edits over offsets: applied, reversed, shown as a diff, written whole or not at all."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from unstall.errors import BadInput
from unstall.model import Edit

_DIFF_CONTEXT = 3
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class ChangedOnDisk(BadInput):
    """A file is not what it was when it was read, so nothing is written to it."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was read: ``text`` keeps every newline as it is, ``data`` are the bytes it came from."""

    path: str
    text: str
    data: bytes
    encoding: str

    def encoded(self, text: str) -> bytes:
        """The bytes of a new text in this file's encoding, its byte order mark kept."""
        return text.encode(self.encoding)


def read_file(path: Path, name: str | None = None) -> SourceFile:
    """Read a Python or YAML file with its encoding. Raises `BadInput` where it could not be written back unchanged."""
    name = name or str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{name}: cannot be read ({error.strerror or error})") from error
    try:
        encoding = tokenize.detect_encoding(BytesIO(data).readline)[0]
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise BadInput(f"{name}: its text does not fit its encoding, so it is left alone") from error
    if text.encode(encoding) != data:
        raise BadInput(f"{name}: written back as {encoding} its bytes would differ, so it is left alone")
    return SourceFile(name, text, data, encoding)


# --- apply and reverse ----------------------------------------------------------------------------------


def ordered(edits: Iterable[Edit]) -> list[Edit]:
    """By offset; insertions at one offset keep the order they were given in. Raises ValueError on overlaps."""
    placed = sorted(edits, key=lambda edit: (edit.start, edit.end))
    for before, after in zip(placed, placed[1:], strict=False):
        if after.start < before.end:
            raise ValueError(f"edits overlap at {after.start}: {before!r} and {after!r}")
    return placed


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with these edits made; all offsets count in the text as given.

    >>> apply("time.sleep(1)", [Edit("a.py", 0, 10, "await asyncio.sleep")])
    'await asyncio.sleep(1)'
    """
    parts, at = [], 0
    for edit in ordered(edits):
        if not 0 <= edit.start <= edit.end <= len(text):
            raise ValueError(f"edit outside of the text: {edit!r}")
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def reverse(text: str, edits: Iterable[Edit]) -> list[Edit]:
    """The edits that undo these: ``apply(apply(text, edits), reverse(text, edits)) == text``."""
    undo, moved = [], 0
    for edit in ordered(edits):
        start = edit.start + moved
        undo.append(Edit(edit.path, start, start + len(edit.text), text[edit.start : edit.end]))
        moved += len(edit.text) - (edit.end - edit.start)
    return undo


def between(path: str, before: str, after: str) -> list[Edit]:
    """Edits, whole lines each, that make ``after`` of ``before``."""
    old, new = split_lines(before), split_lines(after)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    return [
        Edit(path, starts[a], starts[b], "".join(new[c:d]))
        for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def split_lines(text: str) -> list[str]:
    """Lines with their ends, as Python counts them: only a newline, a carriage return or both end a line."""
    return _LINE.findall(text)


# --- diff -----------------------------------------------------------------------------------------------


def diff(path: str, before: str, after: str, why: Callable[[int, int], str] = lambda first, last: "") -> str:
    """A unified diff that ``git apply`` takes. ``why(first, last)`` is the heading of the hunk that makes these lines
    of ``after``, counted from 1; an empty text where nothing differs."""
    old, new = split_lines(before), split_lines(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    out: list[str] = []
    for group in matcher.get_grouped_opcodes(_DIFF_CONTEXT):
        if not out:
            out += [f"--- a/{path}\n", f"+++ b/{path}\n"]
        first, last = group[0], group[-1]
        changed = [(c + 1, max(d, c + 1)) for kind, _, _, c, d in group if kind != "equal"]
        heading = why(changed[0][0], changed[-1][1])
        out.append(f"@@ -{_span(first[1], last[2])} +{_span(first[3], last[4])} @@{' ' + heading if heading else ''}\n")
        for kind, a, b, c, d in group:
            if kind == "equal":
                out += [_shown(" ", line) for line in old[a:b]]
            else:
                out += [_shown("-", line) for line in old[a:b]] + [_shown("+", line) for line in new[c:d]]
    return "".join(out)


def _span(start: int, end: int) -> str:
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _shown(mark: str, line: str) -> str:
    return mark + line if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"


# --- writing --------------------------------------------------------------------------------------------


def write_file(root: Path, file: SourceFile, text: str) -> None:
    """Put a new text in place of a file: whole or not at all, its mode, encoding and newlines kept.

    Raises `ChangedOnDisk` where the file is no longer what was read, `BadInput` where it cannot be written.
    """
    # Through a link the file it names is replaced, never the link.
    path = Path(os.path.realpath(root / file.path))
    data = file.encoded(text)
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".unstall")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(part, mode)
            # Compared last, so that the moment in which another program's change could be lost is as short as can be.
            if path.read_bytes() != file.data:
                raise ChangedOnDisk(f"{file.path}: changed while it was looked at, nothing was written", "run it again")
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise BadInput(f"{file.path}: cannot be written ({error.strerror or error})") from error


def unchanged(root: Path, files: Sequence[SourceFile]) -> None:
    """Raise `ChangedOnDisk` where one of these files is no longer what was read."""
    for file in files:
        try:
            same = (root / file.path).read_bytes() == file.data
        except OSError:
            same = False
        if not same:
            raise ChangedOnDisk(f"{file.path}: changed while it was looked at, nothing was written", "run it again")
