"""One request over one HTTP/2 connection: what HTTPS probes negotiate, what gRPC probes are made of."""

from __future__ import annotations

from collections.abc import Iterator

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions
    import h2.settings
except ImportError as error:  # pragma: no cover - the extra is installed where this is tested
    from unstall.errors import MissingExtra

    raise MissingExtra("h2", "lab") from error

from unstall.kubelet.http1 import Head
from unstall.kubelet.probe_http import Exchange, Headers, HttpRequest, trimmed
from unstall.kubelet.urls import as_text
from unstall.kubelet.wire import Wire, WireError
from unstall.kubelet.wording import quote

STREAM = 1
WINDOW_BYTES = 4 << 20
HOP_WORDS = ("", "close", "keep-alive")
# Meaningless in HTTP/2, where Go leaves them out.
LEFT_OUT = frozenset(
    {"host", "connection", "proxy-connection", "transfer-encoding", "upgrade", "keep-alive", "content-length"}
)


class StreamReset(WireError):
    """The server reset the stream; ``code`` as HTTP/2 names it."""

    def __init__(self, code: str) -> None:
        super().__init__(f"stream error: stream ID {STREAM}; {code}; received from peer")
        self.code = code


class ConnectionLost(WireError):
    """The connection ended before the answer did."""


class Stream:
    """A connection with a single stream. Frames in, events out; every wait obeys the wire's limits."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        config = h2.config.H2Configuration(header_encoding="latin-1", validate_outbound_headers=False)
        self._connection = h2.connection.H2Connection(config)
        self._connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            },
        )

    def open(self) -> None:
        """Send the preface."""
        self._connection.initiate_connection()
        self._flush()

    def wait_until_ready(self) -> None:
        """Return once the server has sent its settings, which is when Go's gRPC calls a connection ready."""
        for event in self._events():
            if isinstance(event, h2.events.RemoteSettingsChanged):
                return

    def request(self, headers: list[tuple[str, str]], body: bytes | None = None) -> None:
        """Send the one request."""
        self._connection.send_headers(STREAM, headers, end_stream=body is None)
        if body is not None:
            self._connection.send_data(STREAM, body, end_stream=True)
        self._flush()

    def answer(self) -> Iterator[h2.events.Event]:
        """The stream's events up to its end. Raises `StreamReset` or `ConnectionLost`."""
        for event in self._events():
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self._connection.acknowledge_received_data(event.flow_controlled_length, STREAM)
                self._flush()
            yield event
            if isinstance(event, h2.events.StreamEnded):
                return
            if isinstance(event, h2.events.StreamReset):
                raise StreamReset(code_name(event.error_code))

    def _events(self) -> Iterator[h2.events.Event]:
        while True:
            data = self._wire.receive()
            if not data:
                raise ConnectionLost("unexpected EOF")
            try:
                events = self._connection.receive_data(data)
            except h2.exceptions.InvalidBodyLengthError:
                raise WireError("unexpected EOF") from None
            except h2.exceptions.ProtocolError:
                raise ConnectionLost("connection error: PROTOCOL_ERROR") from None
            self._flush()
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    debug = quote((event.additional_data or b"").decode("utf-8", "replace"))
                    raise ConnectionLost(
                        "http2: server sent GOAWAY and closed the connection; "
                        f"LastStreamID={event.last_stream_id}, ErrCode={code_name(event.error_code)}, debug={debug}"
                    )
                yield event

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._wire.send(data)


def code_name(code: int | None) -> str:
    """An error code as Go prints it."""
    try:
        return h2.errors.ErrorCodes(code or 0).name
    except ValueError:
        return f"unknown error code 0x{code:x}"


def request_headers(request: HttpRequest) -> list[tuple[str, str]]:
    """The request's headers as HTTP/2 has them."""
    url = request.url
    headers = [
        (":authority", request.host or url.host),
        (":method", "GET"),
        (":path", url.request_target),
        (":scheme", url.scheme),
    ]
    for name in sorted(request.headers):
        if name.lower() in LEFT_OUT:
            continue
        values = request.headers[name][:1] if name == "User-Agent" else request.headers[name]
        headers += [(name.lower(), trimmed(value)) for value in values if value or name != "User-Agent"]
    return headers


def check_hop_headers(headers: Headers) -> None:
    """Raise where Go refuses to send a header that belongs to one HTTP/1 connection."""
    for name, allowed in (("Upgrade", ("",)), ("Transfer-Encoding", ("", "chunked")), ("Connection", HOP_WORDS)):
        values = headers.get(name, [""])
        if len(values) > 1 or values[0].lower() not in allowed:
            shown = " ".join(quote(as_text(value)) for value in values)
            raise WireError(f"http2: invalid {name} request header: [{shown}]")


class Exchange2(Exchange):
    """A request sent over HTTP/2, and its answer."""

    def __init__(self, wire: Wire, request: HttpRequest) -> None:
        super().__init__(wire, request)
        check_hop_headers(request.headers)
        self._stream = Stream(wire)
        self._answer = self._stream.answer()

    def head(self) -> Head:
        """Send, then read status and headers; informational answers are skipped."""
        self._stream.open()
        self._stream.request(request_headers(self._request))
        for event in self._answer:
            if isinstance(event, h2.events.ResponseReceived):
                headers = tuple((str(name), str(value)) for name, value in event.headers or [])
                found = dict(headers)
                length = found.get("content-length", "")
                return Head(int(found[":status"]), headers, length=int(length) if length.isdigit() else -1)
        raise ConnectionLost("unexpected EOF")

    def body(self, head: Head, limit: int) -> bytes:
        """The body, at most ``limit`` bytes."""
        body = bytearray()
        for event in self._answer:
            if isinstance(event, h2.events.DataReceived):
                body += event.data or b""
                if len(body) >= limit:
                    break
        return bytes(body[:limit])
