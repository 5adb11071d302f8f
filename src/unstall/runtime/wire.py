"""As much HTTP/1.1 as a probe, a scraper and a curl need: bytes to a request, an answer to bytes."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

HEAD_BYTES = 8192
"""Longest head of a request that is read."""
REASONS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable", 505: "HTTP Version Not Supported",
}  # fmt: skip
JSON, TEXT = "application/json", "text/plain; charset=utf-8"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VISIBLE = bytes(range(0x21, 0x7F))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Request:
    """A request's head; ``headers`` have lower-case names."""

    __slots__ = ("headers", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method, self.path, self.headers = method, path, headers


class Refused(Exception):
    """These bytes are no request that is answered; ``status`` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse(data: bytes) -> Request | None:
    """The request at the start of ``data``; None where its head is not complete yet.

    Raises:
        Refused: it is not HTTP/1.0 or 1.1, or its head is too long.
    """
    text = data.lstrip(b"\r\n")
    if len(data) - len(text) > 4 or (text and text[0] not in _TOKEN):
        _refuse(400)  # said at once: a TLS greeting, for one, never ends in an empty line
    end = _end_of_head(text)
    if end < 0 or end > HEAD_BYTES:
        if max(end, len(data)) > HEAD_BYTES:
            _refuse(431)
        return None
    lines = [line.removesuffix(b"\r") for line in text[:end].split(b"\n")]
    method, path, version = _request_line(lines[0])
    headers = _headers(lines[1:])
    if version == b"HTTP/1.1" and "host" not in headers:
        _refuse(400)
    return Request(method, path, headers)


def _end_of_head(text: bytes) -> int:
    at = text.find(b"\r\n\r\n")
    bare = text.find(b"\n\n", 0, at if at >= 0 else len(text))
    return at if bare < 0 else bare


def _request_line(line: bytes) -> tuple[str, str, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[0] or parts[0].translate(None, _TOKEN):
        _refuse(400)
    method, target, version = parts
    if len(version) != 8 or not version.startswith(b"HTTP/") or version[6:7] != b"." or not _digits(version):
        _refuse(400)
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        _refuse(505)
    if not target or target.translate(None, _VISIBLE):
        _refuse(400)
    if not target.startswith(b"/"):
        scheme, _, rest = target.partition(b"://")
        if scheme.lower() not in (b"http", b"https") and target != b"*":
            _refuse(400)
        target = b"/" + rest.partition(b"/")[2]
    return method.decode(), target.partition(b"?")[0].partition(b"#")[0].decode(), version


def _digits(version: bytes) -> bool:
    return version[5:6].isdigit() and version[7:8].isdigit()


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, _TOKEN) or b"\0" in value or b"\r" in value:
            _refuse(400)
        key = name.lower().decode()
        if key == "host" and key in headers:
            _refuse(400)
        headers[key] = value.strip(b" \t").decode("latin-1")
    return headers


def _refuse(status: int) -> NoReturn:
    raise Refused(status)


def head(status: int, kind: str, length: int, at: float) -> bytes:
    """The head of an answer with a body of ``length`` bytes; the connection ends with it. ``at`` is wall time."""
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    return (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nDate: {_date(at)}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n"
    ).encode("ascii")


_dates: dict[int, str] = {}


def _date(at: float) -> str:
    second = int(at)
    text = _dates.get(second)
    if text is None:
        _dates.clear()
        text = _dates[second] = _written(time.gmtime(second))
    return text


def _written(t: time.struct_time) -> str:
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )
