"""HTTP/1 answers as Go's net/http reads them.

Not h11: it refuses what Go accepts (a status of 999, a space before a header's colon, bare line feeds) and its
errors cannot be turned back into Go's words, which are the text of the pod's events.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from unstall.kubelet.urls import as_text
from unstall.kubelet.wire import Wire, WireError
from unstall.kubelet.wording import quote

HEAD_LIMIT_BYTES = 10 << 20
CHUNK_LINE_LIMIT_BYTES = 4096
TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
VERSION = re.compile(r"HTTP/\d\.\d")
BROKEN = "net/http: HTTP/1.x transport connection broken: "


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers. ``length`` is -1 where the end of the stream ends the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunked: bool = False
    length: int = 0

    def header(self, name: str) -> str:
        """The first value of a header, '' where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Lines:
    """A wire read in lines and in blocks."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = bytearray()
        self._broken: WireError | None = None
        self.ended = False
        self.taken = 0
        """Bytes given out so far."""

    def more(self) -> bool:
        """Read once from the wire; False at the end of the stream."""
        if self._broken is not None:
            raise self._broken
        if not self.ended:
            try:
                data = self._wire.receive()
            except WireError as error:
                if not self._held:
                    raise
                # What came before the connection broke is read first.
                self._broken, data = error, b""
            self._held += data
            self.ended = not data
        return not self.ended

    def line(self) -> str | None:
        """The next line without its end, or what is left at the end of the stream, or None where nothing is."""
        line = self.raw_line()
        return None if line is None else line.removesuffix("\n").removesuffix("\r")

    def raw_line(self) -> str | None:
        """The next line with its end."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if self.taken + searched > HEAD_LIMIT_BYTES:
                raise WireError(f"net/http: server response headers exceeded {HEAD_LIMIT_BYTES} bytes; aborted")
            if not self.more():
                return self.take(len(self._held)).decode("latin-1") if self._held else None
        return self.take(end + 1).decode("latin-1")

    def take(self, count: int) -> bytes:
        """Up to ``count`` of the bytes already read."""
        data = bytes(self._held[:count])
        del self._held[:count]
        self.taken += len(data)
        return data

    def some(self, count: int) -> bytes:
        """At least one byte and at most ``count``, none at the end of the stream."""
        if not self._held:
            self.more()
        return self.take(count)

    def sees(self, wanted: bytes, within: int) -> bool:
        """Whether these bytes come among the next ``within``."""
        while wanted not in self._held[:within] and len(self._held) < within and self.more():
            pass
        return wanted in self._held[:within]

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes without taking them, fewer at the end of the stream."""
        while len(self._held) < count and self.more():
            pass
        return bytes(self._held[:count])


def read_head(lines: Lines) -> Head:
    """The first final answer; 1xx ones but 101 are skipped. Raises `WireError` in Go's words."""
    if not lines.peek(1):
        raise WireError("EOF")
    try:
        while True:
            lines.taken = 0
            head = framed(*read_status_and_headers(lines))
            if not 100 <= head.status <= 199 or head.status == 101:
                return head
    except WireError as error:
        raise WireError(BROKEN + error.message) from None


def read_status_and_headers(lines: Lines) -> tuple[str, int, tuple[tuple[str, str], ...]]:
    """Protocol, status and headers of one answer."""
    line = whole_line(lines)
    protocol, space, status = line.partition(" ")
    if not space:
        raise malformed("HTTP response", line)
    code = status.lstrip(" ").partition(" ")[0]
    if len(code) != 3 or not re.fullmatch(r"\+?\d+", code, re.ASCII):
        raise malformed("HTTP status code", code)
    if not VERSION.fullmatch(protocol):
        raise malformed("HTTP version", protocol)
    return protocol, int(code), read_headers(lines)


def malformed(what: str, text: str) -> WireError:
    """Go's ``badStringError``."""
    return WireError(f"malformed {what} {quote(as_text(text))}")


def whole_line(lines: Lines) -> str:
    """The next line; at the end of the stream what there is of it."""
    line = lines.line()
    if line is None:
        raise WireError("unexpected EOF")
    return line


def read_headers(lines: Lines) -> tuple[tuple[str, str], ...]:
    """Header lines up to the empty one; a line that begins with a blank continues the one before."""
    if lines.peek(1) in (b" ", b"\t"):
        raise WireError(f"malformed MIME header initial line: {quote(as_text(whole_line(lines)))}")
    headers = []
    while line := whole_line(lines).rstrip(" \t"):
        if ":" not in line:
            raise WireError(f"malformed MIME header: missing colon: {quote(as_text(line))}")
        while lines.peek(1) in (b" ", b"\t"):
            line = f"{line} {whole_line(lines).strip(' ' + chr(9))}"
        name, _, value = line.partition(":")
        legal = name and all(character in TOKEN or character == " " for character in name)
        if not legal or any(character < " " and character != "\t" or character == "\x7f" for character in value):
            raise WireError(f"malformed MIME header line: {quote(as_text(line))}")
        headers.append((name, value.lstrip(" \t")))
    return tuple(headers)


def framed(protocol: str, status: int, headers: tuple[tuple[str, str], ...]) -> Head:
    """Where the body ends, by Go's rules."""
    codings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    lengths = [value.strip(" \t") for name, value in headers if name.lower() == "content-length"]
    chunked = False
    if codings and protocol >= "HTTP/1.1":
        if len(codings) > 1:
            raise WireError(f"too many transfer encodings: {quoted_list(codings)}")
        if codings[0].lower() != "chunked":
            raise WireError(f"unsupported transfer encoding: {quote(as_text(codings[0]))}")
        chunked, lengths = True, []
    if len(set(lengths)) > 1:
        raise WireError(f"http: message cannot contain multiple Content-Length headers; got {quoted_list(lengths)}")
    length = content_length(lengths[0]) if lengths else -1
    if status // 100 == 1 or status in (204, 304):
        # Only a switched protocol has bytes after such a head.
        switched = status == 101 and any(
            name.lower() == "connection" and "upgrade" in value.lower() for name, value in headers
        )
        return Head(status, headers, length=-1 if switched else 0)
    return Head(status, headers, chunked, -1 if chunked else length)


def quoted_list(texts: list[str]) -> str:
    """Go's ``%q`` of a list of strings."""
    return "[" + " ".join(quote(as_text(text)) for text in texts) + "]"


def content_length(text: str) -> int:
    """A Content-Length in digits."""
    if not text:
        raise WireError('invalid empty Content-Length ""')
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 63:
        raise WireError(f"bad Content-Length {quote(as_text(text))}")
    return int(text)


def read_body(lines: Lines, head: Head, limit: int) -> bytes:
    """The body, at most ``limit`` bytes of it. Raises `WireError` where it is cut short."""
    if head.chunked:
        return read_chunks(lines, limit)
    body = bytearray()
    wanted = limit if head.length < 0 else min(limit, head.length)
    while len(body) < wanted:
        data = lines.some(wanted - len(body))
        if not data:
            if head.length >= 0:
                raise WireError("unexpected EOF")
            break
        body += data
    return bytes(body)


def read_chunks(lines: Lines, limit: int) -> bytes:
    """A chunked body and its trailer."""
    body = bytearray()
    while len(body) < limit:
        size = chunk_size(lines)
        if size == 0:
            read_trailer(lines)
            break
        while size and len(body) < limit:
            data = lines.some(min(size, limit - len(body)))
            if not data:
                raise WireError("unexpected EOF")
            body += data
            size -= len(data)
        if size == 0 and len(body) < limit:
            end = lines.peek(2)
            if len(end) < 2:
                raise WireError("unexpected EOF")
            if lines.take(2) != b"\r\n":
                raise WireError("malformed chunked encoding")
    return bytes(body)


def chunk_size(lines: Lines) -> int:
    """The number at the head of a chunk, in hexadecimal, extensions ignored."""
    line = lines.raw_line()
    if line is None or not line.endswith("\n"):
        raise WireError("unexpected EOF")
    if not line.endswith("\r\n"):
        raise WireError("chunked line ends with bare LF")
    if len(line) > CHUNK_LINE_LIMIT_BYTES:
        raise WireError("header line too long")
    digits = line.rstrip(" \t\r\n").partition(";")[0].rstrip(" \t")
    if not digits:
        raise WireError("empty hex number for chunk length")
    if not set(digits) <= set(string.hexdigits):
        raise WireError("invalid byte in chunk length")
    if len(digits) > 16:
        raise WireError("http chunk length too large")
    return int(digits, 16)


def read_trailer(lines: Lines) -> None:
    """What follows the last chunk, up to the empty line."""
    start = lines.peek(2)
    if start == b"\r\n":
        lines.take(2)
    elif len(start) < 2:
        raise WireError("http: unexpected EOF reading trailer")
    elif not lines.sees(b"\r\n\r\n", CHUNK_LINE_LIMIT_BYTES):
        raise WireError("http: suspiciously long trailer after chunked body")
    else:
        read_headers(lines)
