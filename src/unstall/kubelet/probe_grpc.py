"""The kubelet's gRPC probe: one ``grpc.health.v1.Health/Check`` over plain HTTP/2.

Spoken directly, not through grpcio: its client cannot send the kubelet's user agent, holds its own threads past
an abort, and words its failures otherwise.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unstall.errors import MissingExtra
from unstall.kubelet.wire import Limits, TimedOut, Wire, WireError, dial, join_host_port
from unstall.kubelet.wishes import Outcome
from unstall.kubelet.wording import duration, quote
from unstall.model import Grpc

if TYPE_CHECKING:
    from unstall.kubelet.http2 import Stream

USER_AGENT = "kube-probe/1.36 grpc-go/1.79.3"
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
    "DataLoss", "Unauthenticated",
)  # fmt: skip
# Go's gRPC reads an answer that is not gRPC by its HTTP status.
CODE_BY_HTTP_STATUS = {
    400: "Internal", 401: "Unauthenticated", 403: "PermissionDenied", 404: "Unimplemented",
    429: "Unavailable", 502: "Unavailable", 503: "Unavailable", 504: "Unavailable",
}  # fmt: skip
HTTP_REASONS = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
CODE_BY_RESET = {
    "NO_ERROR": "Internal", "PROTOCOL_ERROR": "Internal", "INTERNAL_ERROR": "Internal", "FLOW_CONTROL_ERROR": "ResourceExhausted",
    "REFUSED_STREAM": "Unavailable", "CANCEL": "Canceled", "ENHANCE_YOUR_CALM": "ResourceExhausted",
    "INADEQUATE_SECURITY": "PermissionDenied",
}  # fmt: skip
BACK_OFF_S = 1.0
BACK_OFF_FACTOR = 1.6
BACK_OFF_JITTER = 0.2
BACK_OFF_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said: the health status, or a code and its words."""

    code: str = "OK"
    message: str = ""
    status: int = 0


def ask_grpc(handler: Grpc, timeout_s: float, pod_ip: str, limits: Limits) -> tuple[Outcome, str, str | None]:
    """One try; it never is a prober's own error. Raises `MissingExtra` where h2 is not installed."""
    require_h2()
    address = join_host_port(pod_ip, handler.port)
    connected = False
    try:
        wire, stream = connect(pod_ip, handler.port, limits)
        connected = True
        with wire:
            reply = check(stream, address, handler.service, limits)
    except TimedOut:
        within = duration(timeout_s)
        if connected:
            return Outcome.FAILURE, f"timeout: health rpc did not complete within {within}", None
        text = f"timeout: failed to connect service {quote(address)} within {within}: context deadline exceeded"
        return Outcome.FAILURE, text, None
    return verdict(reply, timeout_s)


def require_h2() -> None:
    """Say which extra to install where there is no HTTP/2."""
    try:
        import h2  # noqa: F401
    except ImportError:
        raise MissingExtra("h2", "grpc") from None


def verdict(reply: Reply, timeout_s: float) -> tuple[Outcome, str, str | None]:
    """The kubelet's words for a reply."""
    if reply.code == "Unimplemented":
        text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
        return Outcome.FAILURE, text + reply.message, None
    if reply.code == "DeadlineExceeded":
        return Outcome.FAILURE, f"timeout: health rpc did not complete within {duration(timeout_s)}", None
    if reply.code != "OK":
        error = f"rpc error: code = {reply.code} desc = {reply.message}"
        return Outcome.FAILURE, f"error: health rpc probe failed: {error}", None
    if reply.status != 1:
        name = STATUSES.get(reply.status, str(reply.status))
        return Outcome.FAILURE, f'service unhealthy (responded with "{name}")', None
    return Outcome.SUCCESS, "service healthy", None


def connect(host: str, port: int, limits: Limits) -> tuple[Wire, Stream]:
    """A connection whose server has shown that it speaks HTTP/2: tries again, with back-off, until the deadline."""
    from unstall.kubelet.http2 import Stream

    back_off_s = BACK_OFF_S
    while True:
        try:
            wire = dial(host, port, limits)
            try:
                stream = Stream(wire)
                stream.open()
                stream.wait_until_ready()
                return wire, stream
            except BaseException as error:
                wire.__exit__(type(error), error, None)
                raise
        except WireError:
            limits.pause(back_off_s)
        longer_s = min(max(back_off_s, BACK_OFF_S) * BACK_OFF_FACTOR, BACK_OFF_LIMIT_S)
        back_off_s = longer_s * random.uniform(1 - BACK_OFF_JITTER, 1 + BACK_OFF_JITTER)


def check(stream: Stream, address: str, service: str, limits: Limits) -> Reply:
    """Make the call on a connection that is ready. Raises `TimedOut`."""
    from unstall.kubelet.http2 import StreamReset

    name = service.encode()
    message = b"\x0a" + varint(len(name)) + name if name else b""
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", address),
        ("content-type", "application/grpc"),
        ("user-agent", USER_AGENT),
        ("te", "trailers"),
        ("grpc-timeout", grpc_timeout(limits.deadline_at - time.monotonic())),
    ]
    try:
        stream.request(headers, b"\x00" + len(message).to_bytes(4, "big") + message)
        return read_reply(stream)
    except StreamReset as error:
        text = f"stream terminated by RST_STREAM with error code: {error.code}"
        return Reply(CODE_BY_RESET.get(error.code, "Unknown"), text)
    except WireError as error:
        text = "EOF" if error.message == "unexpected EOF" else error.message
        return Reply("Unavailable", f"error reading from server: {text}")


def read_reply(stream: Stream) -> Reply:
    """Headers, message and trailers of the answer."""
    import h2.events

    headers: dict[str, str] = {}
    body = bytearray()
    for event in stream.answer():
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            headers |= {str(name): str(value) for name, value in event.headers or []}
        elif isinstance(event, h2.events.DataReceived):
            body += event.data or b""
    if not headers.get("content-type", "").startswith("application/grpc"):
        return not_grpc(headers)
    code = headers.get("grpc-status")
    if code is None:
        return Reply("Internal", "server closed the stream without sending trailers")
    message = percent_decoded(headers.get("grpc-message", ""))
    if code != "0":
        number = int(code) if code.isdigit() else 2
        return Reply(CODES[number] if number < len(CODES) else f"Code({number})", message)
    if len(body) < 5:
        return Reply("Internal", "cardinality violation: received no response message from non-server-streaming RPC")
    return Reply(status=health_status(bytes(body[5:])))


def not_grpc(headers: dict[str, str]) -> Reply:
    """An answer of another kind, in the words of Go's gRPC."""
    status = int(headers.get(":status", "0"))
    kind = headers.get("content-type")
    reason = (
        f"transport: received unexpected content-type {quote(kind)}"
        if kind is not None
        else "malformed header: missing HTTP content-type"
    )
    if status == 200:
        return Reply("Unknown", f"unexpected HTTP status code received from server: 200 (OK); {reason}")
    shown = f"{status} ({HTTP_REASONS.get(status, '')})"
    code = CODE_BY_HTTP_STATUS.get(status, "Unknown")
    return Reply(code, f"unexpected HTTP status code received from server: {shown}; {reason}")


def grpc_timeout(seconds: float) -> str:
    """What is left of the timeout, in gRPC's at most eight digits and a unit."""
    nanoseconds = max(1, int(seconds * 1e9))
    for unit, size in (("n", 1), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000)):
        amount = -(-nanoseconds // size)
        if amount < 100_000_000:
            return f"{amount}{unit}"
    return f"{-(-nanoseconds // 60_000_000_000)}M"


def percent_decoded(text: str) -> str:
    """A grpc-message as its server meant it."""
    data = re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match.group(1), 16)), text)
    return data.encode("latin-1").decode("utf-8", "replace")


def varint(number: int) -> bytes:
    """A number as protocol buffers write it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def health_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0, that is UNKNOWN, where it is not there."""
    index = 0
    while index < len(message):
        tag, index = read_varint(message, index)
        if tag & 7 == 0:
            number, index = read_varint(message, index)
            if tag >> 3 == 1:
                return number
        elif tag & 7 == 2:
            length, index = read_varint(message, index)
            index += length
        else:
            index += 4 if tag & 7 == 5 else 8
    return 0


def read_varint(message: bytes, index: int) -> tuple[int, int]:
    """A number and where it ends; what is cut off counts as zero."""
    number = shift = 0
    while index < len(message):
        byte = message[index]
        number |= (byte & 0x7F) << shift
        shift += 7
        index += 1
        if byte < 0x80:
            break
    return number, index
