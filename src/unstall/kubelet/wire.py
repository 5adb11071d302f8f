"""A TCP connection, plain or TLS, that obeys one deadline, can be aborted from another thread, and fails in Go's words."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass

from unstall.errors import UnstallError

RECEIVE_BYTES = 65536
DOMAIN_NAME = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_.])?")
# The texts of Go's crypto/tls for the alerts a server may answer a probe with, by OpenSSL's reason.
ALERTS = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake failure",
    "SSL/TLS_ALERT_HANDSHAKE_FAILURE": "handshake failure",
    "TLSV1_ALERT_PROTOCOL_VERSION": "protocol version not supported",
    "TLSV1_ALERT_INTERNAL_ERROR": "internal error",
    "TLSV1_UNRECOGNIZED_NAME": "unrecognized name",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown certificate authority",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
    "TLSV1_ALERT_DECODE_ERROR": "error decoding message",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "no application protocol",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "certificate required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "SSL/TLS_ALERT_BAD_CERTIFICATE": "bad certificate",
}


class WireError(UnstallError):
    """The connection failed; the message is that of Go's net package."""


class TimedOut(UnstallError):
    """The deadline passed. ``stage`` is ``dial``, ``tls`` or ``exchange``."""

    def __init__(self, stage: str = "exchange") -> None:
        super().__init__("context deadline exceeded")
        self.stage = stage


class Aborted(UnstallError):
    """Somebody called `Abort.set` while the probe was under way."""

    def __init__(self) -> None:
        super().__init__("probe aborted")


class Abort:
    """Ends every probe that was given it, at once and from any thread. Close it when the last probe has returned."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()

    def fileno(self) -> int:
        """Readable from `set` on, for ever: nobody reads the byte."""
        return self._reader.fileno()

    def set(self) -> None:
        """Abort. Harmless when repeated."""
        with contextlib.suppress(OSError):
            self._writer.send(b"x", socket.MSG_DONTWAIT)

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def close(self) -> None:
        """Give the two sockets back."""
        self._reader.close()
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one try: a deadline on the monotonic clock, and perhaps an `Abort`."""

    deadline_at: float
    abort: Abort | None = None

    def wait(self, fd: int | None, event: int = 0, stage: str = "exchange") -> None:
        """Return when ``fd`` is ready; without one there is only an end to wait for. Raises `TimedOut` or `Aborted`."""
        poll = select.poll()
        if fd is not None:
            poll.register(fd, event)
        if self.abort is not None:
            poll.register(self.abort.fileno(), select.POLLIN)
        while True:
            left_s = self.deadline_at - time.monotonic()
            # Rounded up: a probe must never be given up before its time.
            ready = dict(poll.poll(max(0, int(left_s * 1000) + 1))) if left_s > 0 else {}
            if self.abort is not None and self.abort.fileno() in ready:
                raise Aborted
            if fd in ready:
                return
            if self.deadline_at <= time.monotonic():
                raise TimedOut(stage)

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the deadline. Raises `TimedOut` or `Aborted`."""
        until = min(time.monotonic() + seconds, self.deadline_at)
        pause = Limits(until, self.abort)
        with contextlib.suppress(TimedOut):
            pause.wait(None)
        if time.monotonic() >= self.deadline_at:
            raise TimedOut


def join_host_port(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def error_text(number: int | None) -> str:
    """An errno in Go's words, which are the C library's in lower case."""
    text = os.strerror(number or 0)
    return text[:1].lower() + text[1:]


def resolver() -> str:
    """The name server that Go's own resolver would name in an error."""
    with contextlib.suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return join_host_port(words[1], 53)
    return "127.0.0.1:53"


def look_up(host: str, limits: Limits) -> list[str]:
    """The addresses of a host. Raises `WireError` in Go's words."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    asked = f" on {resolver()}" if DOMAIN_NAME.fullmatch(host) else ""
    missing = WireError(f"dial tcp: lookup {host}{asked}: no such host")
    if not asked:
        raise missing
    # RFC 6761: names under .invalid never exist, so nobody needs to be asked.
    if host.rstrip(".").lower().endswith(".invalid"):
        raise missing
    found: list[str] = []
    done_reader, done_writer = socket.socketpair()

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                found.append(str(address[0]))
        with contextlib.suppress(OSError):
            done_writer.send(b"x")

    # The C library's look-up cannot be interrupted: a thread that nobody waits for after the deadline.
    threading.Thread(target=ask, name="unstall-lookup", daemon=True).start()
    try:
        limits.wait(done_reader.fileno(), select.POLLIN, "dial")
    finally:
        done_reader.close()
        # `ask` may still hold the other end; closing ours makes its send fail, which it expects.
        done_writer.close()
    if not found:
        raise missing
    return list(dict.fromkeys(found))


def dial(host: str, port: int, limits: Limits) -> Wire:
    """Connect as the kubelet's probe dialler does. Raises `WireError`, `TimedOut` or `Aborted`."""
    if not 0 <= port < 65536:
        raise WireError(f"dial tcp: address {port}: invalid port")
    first: WireError | None = None
    for address in look_up(host, limits):
        try:
            return dial_address(address, port, limits)
        except WireError as error:
            first = first or error
    assert first is not None, "look_up returns at least one address"
    raise first


def dial_address(address: str, port: int, limits: Limits) -> Wire:
    """Connect to one address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    peer = join_host_port(address, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # A closing probe waits up to a second for its last byte's acknowledgement, then resets.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = sock.connect_ex((address, port))
        if number == errno.EINPROGRESS:
            limits.wait(sock.fileno(), select.POLLOUT, "dial")
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # A peer that resets at once was reached all the same: whoever reads next is told. (Refused is another errno.)
        if number and number != errno.ECONNRESET:
            raise WireError(f"dial tcp {peer}: connect: {error_text(number)}")
        local = join_host_port(*sock.getsockname()[:2])
    except BaseException:
        drop(sock)
        raise
    return Wire(sock, limits, local, peer, broken=number)


def drop(sock: socket.socket) -> None:
    """Close without lingering: the peer gets a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Wire:
    """An open connection. ``local`` and ``peer`` are ``ip:port``, as Go prints them."""

    def __init__(self, sock: socket.socket, limits: Limits, local: str, peer: str, broken: int = 0) -> None:
        self._sock = sock
        self._broken = broken
        self._limits = limits
        self._tls: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO] | None = None
        self._stage = "exchange"
        self.local = local
        self.peer = peer

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, Aborted):
            drop(self._sock)
        else:
            self._sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it. A peer that has gone is noticed by the next `receive`, whose words are the better ones."""
        if self._tls is None:
            return self._send_raw(data)
        tls, _, _ = self._tls
        tls.write(data)
        self._flush()

    def receive(self) -> bytes:
        """Some bytes, or none at the end of the stream."""
        if self._tls is None:
            return self._receive_raw()
        tls, _, _ = self._tls
        while True:
            try:
                return tls.read(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                raise WireError("unexpected EOF") from None
            except ssl.SSLError as error:
                raise tls_error(error) from None

    def start_tls(self, host: str, protocols: list[str]) -> str:
        """Shake hands without verifying the certificate; returns the protocol that ALPN chose, or ''."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Go takes keys and digests that OpenSSL's default level refuses.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.set_alpn_protocols(protocols)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name(host))
        self._tls = (tls, incoming, outgoing)
        self._stage = "tls"
        first = b""
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._receive_raw()
                if not data:
                    raise WireError("EOF" if not first else "unexpected EOF") from None
                first = (first + data[:5])[:5]
                if len(first) == 5:
                    check_first_record(first)
                incoming.write(data)
            except ssl.SSLError as error:
                self._flush()
                raise tls_error(error) from None
            else:
                break
        self._flush()
        self._stage = "exchange"
        return tls.selected_alpn_protocol() or ""

    def _flush(self) -> None:
        assert self._tls is not None
        if data := self._tls[2].read():
            self._send_raw(data)

    def _feed(self) -> None:
        assert self._tls is not None
        if data := self._receive_raw():
            self._tls[1].write(data)
        else:
            self._tls[1].write_eof()

    def _send_raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._limits.wait(self._sock.fileno(), select.POLLOUT, self._stage)
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    def _receive_raw(self) -> bytes:
        while True:
            self._limits.wait(self._sock.fileno(), select.POLLIN, self._stage)
            try:
                if self._broken:
                    raise OSError(self._broken, "")
                return self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                text = error_text(error.errno)
                raise WireError(f"read tcp {self.local}->{self.peer}: read: {text}") from None


def server_name(host: str) -> str | None:
    """The name for SNI; none for an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".") or None
    return None


def check_first_record(first: bytes) -> None:
    """Raise in Go's words where the peer does not speak TLS."""
    if first == b"HTTP/":
        raise WireError("http: server gave HTTP response to HTTPS client")
    if first[0] not in (0x15, 0x16):
        raise WireError("tls: first record does not look like a TLS handshake")


def tls_error(error: ssl.SSLError) -> WireError:
    """An OpenSSL error as Go's crypto/tls would put it."""
    alert = ALERTS.get(error.reason or "")
    return WireError(f"remote error: tls: {alert}" if alert else f"tls: {(error.reason or 'failure').lower()}")
