"""The workers of one pod: whose observer has the port, and how it sees the other workers.

Theory. Each worker has an observer, one port is for all. Who binds a name in the abstract socket space (which is the
network's namespace, as the port is) leads; the others connect to it and hand over a file number of their worker's
mapping. So the leader reads every worker as it reads its own, at the moment it is asked and without asking anybody.
When the leader ends its name is free: all others see the connection end, and the first to bind is the next.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import struct

from unstall.runtime import mapping
from unstall.runtime.cause import start_ticks
from unstall.runtime.health import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HELLO = struct.Struct("!4sqq")
_MAGIC = b"uns1"
_FLAGS = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
WORKERS = 512
AGAIN_S = 0.2
"""How soon to try once more where a leader could be neither replaced nor joined."""


def group_of(pid: int, parent: int) -> str:
    """What the workers of one server have in common: their supervisor, or the process itself where it has none."""
    head = parent or pid
    return f"{head}-{start_ticks(head)}"


class Pod:
    """One observer's place in its pod: leader of the workers, or one of them."""

    def __init__(self, epoll: select.epoll, own: Worker, map_fd: int, group: str, port: int) -> None:
        self.own = own
        self.leads = False
        self.try_at = 0.0
        self.departed: Callable[[Worker], None] = lambda worker: None
        self._epoll, self._map_fd = epoll, map_fd
        self._name = f"\0unstall/{os.geteuid()}/{group}/{port}".encode()
        self._socket: _socket.socket | None = None
        self._guests: dict[int, tuple[_socket.socket, Worker | None]] = {}

    @property
    def workers(self) -> list[Worker]:
        """All workers, in the order of their numbers."""
        guests = [worker for _, worker in self._guests.values() if worker is not None]
        return sorted([self.own, *guests], key=lambda worker: (worker.number, worker.pid))

    @property
    def waits(self) -> bool:
        """It has no place yet, and is to try again at `try_at`."""
        return self._socket is None and not self.leads

    def find_place(self, now: float) -> None:
        """Lead where nobody does, else join who does; called again at `try_at`."""
        if self._socket is not None or self.leads or now < self.try_at:
            return
        self.try_at = now + AGAIN_S
        if self._lead() or self._join():
            assert self._socket is not None
            self._epoll.register(self._socket.fileno(), select.EPOLLIN)

    def handle(self, fd: int) -> bool:
        """Do what an event asks for; False where it is none of ours."""
        if self._socket is not None and fd == self._socket.fileno():
            if self.leads:
                self._accept()
            else:
                self._leader_spoke()
            return True
        if fd in self._guests:
            self._guest_spoke(fd)
            return True
        return False

    def close(self) -> None:
        """Leave the pod; whoever follows takes over at once."""
        if self._socket is not None:
            self._epoll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self.leads = False

    def _lead(self) -> bool:
        sock = _socket.socket(_socket.AF_UNIX, _FLAGS)
        try:
            sock.bind(self._name)
            sock.listen(WORKERS)
        except OSError as error:
            sock.close()
            # Where there are no abstract names (not Linux's kernel) each observer is on its own.
            self.leads = error.errno != errno.EADDRINUSE
            return False
        self._socket, self.leads = sock, True
        return True

    def _join(self) -> bool:
        if self.leads:
            return False
        sock = _socket.socket(_socket.AF_UNIX, _FLAGS)
        try:
            sock.connect(self._name)
            if _peer_uid(sock) != os.geteuid():
                raise OSError(errno.EPERM, "somebody else's")
            hello = _HELLO.pack(_MAGIC, self.own.pid, self.own.number)
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", self._map_fd))
            sock.sendmsg([hello], [rights])
        except OSError as error:
            sock.close()
            self.leads = error.errno == errno.EPERM  # then only the port itself decides
            return False
        self._socket = sock
        return True

    def _leader_spoke(self) -> None:
        """It never does: this is its end."""
        assert self._socket is not None
        try:
            if self._socket.recv(64):
                return
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
        self.close()
        self.try_at = 0.0

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        sock.setblocking(False)
        if _peer_uid(sock) != os.geteuid() or len(self._guests) >= WORKERS:
            sock.close()
            return
        self._guests[fd] = (sock, None)
        self._epoll.register(fd, select.EPOLLIN)

    def _guest_spoke(self, fd: int) -> None:
        sock, worker = self._guests[fd]
        try:
            data, rights, _, _ = sock.recvmsg(64, _socket.CMSG_SPACE(4))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            data, rights = b"", []
        fds = [struct.unpack("i", part)[0] for _, kind, part in rights if kind == _socket.SCM_RIGHTS]
        try:
            if data and worker is None:
                worker = _worker(data, fds)
                if worker is not None:
                    self._guests[fd] = (sock, worker)
                    return
        finally:
            for received in fds:
                os.close(received)
        del self._guests[fd]
        sock.close()
        if worker is not None:
            self.departed(worker)


def _worker(data: bytes, fds: list[int]) -> Worker | None:
    if len(data) != _HELLO.size or len(fds) != 1:
        return None
    magic, pid, number = _HELLO.unpack(data)
    if magic != _MAGIC or os.fstat(fds[0]).st_size != mapping.SIZE:
        return None
    try:
        return Worker(mapping.Shared(fds[0]), pid, number)
    except (OSError, ValueError):
        return None


def _peer_uid(sock: _socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
    return int(uid)
