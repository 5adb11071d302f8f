"""Connections of strangers: accepted, given a moment to ask, answered once, closed.

Nothing here waits for anybody. A connection lives `LIFE_S` at most, whatever it does; there are `CONNECTIONS` at most,
and when one more comes the oldest goes: a thousand that dawdle can not keep the kubelet out.
"""

from __future__ import annotations

import _socket
import errno
import select
import time

from unstall.runtime import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from unstall.runtime.wire import Request

    Answer = tuple[int, str, bytes]
    """Status, content type, body."""

CONNECTIONS = 256
LIFE_S = 5.0
BACKLOG = 1024
SEND_BUFFER_BYTES = 131_072
"""The kernel's share of an answer that nobody reads."""
IGNORED_BYTES = 131_072
"""How much a client may send in all: its request, and what it sends on though it has its answer."""
SHARED_S, SHARED_BYTES, SHARED_REQUESTS = 0.01, 1024, 64
"""For how long one answer is given to all who ask the same, byte for byte; how long and how many such requests may be."""
_BODY = frozenset({"content-length", "transfer-encoding"})
_LATER = (errno.EAGAIN, errno.EINTR)
_TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connection:
    """One client; ``rest`` is what is still to be sent, None before there is an answer."""

    __slots__ = ("awaits", "data", "ignored", "peer", "rest", "says_more", "since", "sock")

    def __init__(self, sock: _socket.socket, peer: str, since: float) -> None:
        self.sock, self.peer, self.since = sock, peer, since
        self.data = b""
        self.ignored = self.awaits = 0
        self.says_more = True
        self.rest: list[memoryview] | None = None


class Listener:
    """Serves one listening socket from an epoll loop that others share.

    ``shared`` are the paths whose answer depends on nothing but the moment: many who ask at once get the same bytes.
    """

    def __init__(
        self, epoll: select.epoll, answer: Callable[[Request, str], Answer], shared: Container[str] = ()
    ) -> None:
        self._epoll, self._answer, self._shared_paths = epoll, answer, shared
        self._shared: dict[bytes, tuple[float, bytes]] = {}
        self._socket: _socket.socket | None = None
        self._open: dict[int, Connection] = {}

    @property
    def listening(self) -> bool:
        """Whether it has its port."""
        return self._socket is not None

    def listen(self, port: int) -> None:
        """Take the port on every address, of both versions of IP where there are two. Raises OSError."""
        sock = _bound(port)
        # Both are handed down to the connections.
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        sock.listen(BACKLOG)
        self._socket = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Give up the port and all connections."""
        for connection in list(self._open.values()):
            self._drop(connection)
        if self._socket is not None:
            self._epoll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else oldest.since + LIFE_S

    def expire(self, now: float) -> None:
        """Close what has lived long enough; all are in the order they came."""
        for connection in list(self._open.values()):
            if connection.since + LIFE_S > now:
                return
            self._drop(connection)

    def handle(self, fd: int, event: int, now: float) -> bool:
        """Do what an event asks for; False where it is none of ours."""
        if self._socket is not None and fd == self._socket.fileno():
            self._accept(now)
            return True
        connection = self._open.get(fd)
        if connection is None:
            return False
        try:
            if event & select.EPOLLOUT and connection.rest is not None:
                self._send(connection)
            elif event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(connection, now)
        except OSError as error:
            if error.errno not in _LATER:
                self._drop(connection)
        return True

    def _accept(self, now: float) -> None:
        assert self._socket is not None
        listening = self._socket
        for _ in range(64):  # then let those who are in be answered
            try:
                fd, address = listening._accept()  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in _TOO_MANY and not self._evict():
                    time.sleep(0.05)
                return
            if len(self._open) >= CONNECTIONS:
                self._evict()
            sock = _socket.socket(listening.family, listening.type, listening.proto, fd)
            connection = self._open[fd] = Connection(sock, address[0] if isinstance(address, tuple) else "", now)
            try:
                self._read(connection, now)  # a request mostly comes with its connection
            except OSError as error:
                if error.errno not in _LATER:
                    self._drop(connection)
                    continue
            if fd in self._open and not connection.awaits:
                self._await(connection, select.EPOLLIN)

    def _evict(self) -> bool:
        oldest = next(iter(self._open.values()), None)
        if oldest is not None:
            self._drop(oldest)
        return oldest is not None

    def _drop(self, connection: Connection) -> None:
        self._open.pop(connection.sock.fileno(), None)
        connection.sock.close()  # which takes it out of the epoll set

    def _read(self, connection: Connection, now: float) -> None:
        data = connection.sock.recv(16_384, _socket.MSG_DONTWAIT)
        shared = self._shared.get(data)
        if shared is not None and shared[0] > now and connection.rest is None and not connection.data:
            connection.says_more = False
            connection.rest = [memoryview(shared[1])]
            self._send(connection)
            return
        connection.ignored += len(data)
        if not data or connection.ignored > IGNORED_BYTES:
            self._drop(connection)
        elif connection.rest is None:
            connection.data += data
            try:
                request = wire.parse(connection.data)
            except wire.Refused as refused:
                status = refused.status
                body = f'{{"status":"refused","reason":"{wire.REASONS[status].lower()}"}}\n'.encode()
                self._respond(connection, (status, wire.JSON, body), False)
                return
            if request is not None:
                whole_at_once = len(connection.data) == len(data) <= SHARED_BYTES
                answer = self._answer(request, connection.peer)
                connection.says_more = not _BODY.isdisjoint(request.headers)
                whole = self._respond(connection, answer, request.method == "HEAD")
                if whole_at_once and not connection.says_more and request.path in self._shared_paths:
                    if len(self._shared) >= SHARED_REQUESTS:
                        self._shared.clear()
                    self._shared[data] = now + SHARED_S, whole

    def _respond(self, connection: Connection, answer: Answer, head_only: bool) -> bytes:
        status, kind, body = answer
        head = wire.head(status, kind, len(body), time.time())
        connection.data = b""
        whole = head if head_only else head + body
        connection.rest = [memoryview(whole)]
        self._send(connection)
        return whole

    def _send(self, connection: Connection) -> None:
        rest, sock = connection.rest, connection.sock
        while rest:
            try:
                sent = sock.sendmsg(rest, (), _socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno not in _LATER:
                    raise
                self._await(connection, select.EPOLLOUT)
                return
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if sent:
                rest[0] = rest[0][sent:]
        if not connection.says_more:
            self._drop(connection)
            return
        # What the client still sends is read and dropped until it closes: closing first would reset the
        # connection and could take the answer with it.
        sock.shutdown(_socket.SHUT_WR)
        self._await(connection, select.EPOLLIN)

    def _await(self, connection: Connection, event: int) -> None:
        if connection.awaits != event:
            fd = connection.sock.fileno()
            if connection.awaits:
                self._epoll.modify(fd, event)
            else:
                self._epoll.register(fd, event)
            connection.awaits = event


def _bound(port: int) -> _socket.socket:
    flags = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    try:
        sock = _socket.socket(_socket.AF_INET6, flags)
    except OSError:
        return _bind(_socket.socket(_socket.AF_INET, flags), ("0.0.0.0", port))
    try:
        sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
        return _bind(sock, ("::", port))
    except OSError as error:
        sock.close()
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
    return _bind(_socket.socket(_socket.AF_INET, flags), ("0.0.0.0", port))


def _bind(sock: _socket.socket, address: tuple[str, int]) -> _socket.socket:
    # So that the ends of the last process's connections do not keep this one out.
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
