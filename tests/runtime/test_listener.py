"""Slow, hostile and half-open clients on real sockets: they cost nothing, and whoever asks properly gets in."""

from __future__ import annotations

import _socket
import random
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.runtime.conftest import free_port, wait_for
from tests.runtime.test_wire import damaged

from unstall.runtime import listener
from unstall.runtime.listener import CONNECTIONS, SHARED_REQUESTS, SHARED_S, Listener
from unstall.runtime.wire import Request

GET = b"GET /livez HTTP/1.1\r\nHost: pod\r\n\r\n"
LARGE = b"x" * 3_000_000


class Running:
    """A listener that runs in a thread until it is told to stop."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[tuple[str, str]] = []
        self.epoll = select.epoll()
        self.listener = Listener(self.epoll, self.answer)
        self.listener.listen(self.port)
        self.done = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def answer(self, request: Request, peer: str) -> tuple[int, str, bytes]:
        self.asked.append((request.path, peer))
        return 200, "text/plain", LARGE if request.path == "/large" else b"well\n"

    def run(self) -> None:
        while not self.done:
            for fd, event in self.epoll.poll(0.02):
                assert self.listener.handle(fd, event, time.monotonic())
            self.listener.expire(time.monotonic())
        self.listener.close()

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((address, self.port), 20)

    def ask(self, data: bytes = GET, address: str = "127.0.0.1") -> bytes:
        with self.connect(address) as client:
            client.sendall(data)
            return everything(client)

    @property
    def open(self) -> int:
        return len(self.listener._open)


def everything(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.done = True
    made.thread.join(20)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_it_answers_on_both_versions_of_ip(running: Running) -> None:
    assert body_of(running.ask()) == b"well\n"
    if socket.has_ipv6:
        try:
            answer = running.ask(address="::1")
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
        assert body_of(answer) == b"well\n"
        assert [peer for _, peer in running.asked] == ["::ffff:127.0.0.1", "::1"]


def test_head_gets_the_head_only(running: Running) -> None:
    answer = running.ask(GET.replace(b"GET", b"HEAD"))
    assert b"Content-Length: 5\r\n" in answer
    assert body_of(answer) == b""


def test_a_request_that_comes_byte_by_byte_is_answered(running: Running) -> None:
    with running.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(GET)):
            client.sendall(GET[at : at + 1])
        assert body_of(everything(client)) == b"well\n"


def test_a_client_that_closes_its_half_first_still_gets_its_answer(running: Running) -> None:
    with running.connect() as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        assert body_of(everything(client)) == b"well\n"


def test_a_body_nobody_asked_for_does_not_cost_the_client_its_answer(running: Running) -> None:
    answer = running.ask(b"POST /livez HTTP/1.1\r\nHost: pod\r\nContent-Length: 60000\r\n\r\n" + b"b" * 60_000)
    assert body_of(answer) == b"well\n"


def test_an_answer_larger_than_any_buffer_arrives_whole(running: Running) -> None:
    assert body_of(running.ask(GET.replace(b"livez", b"large"))) == LARGE


def test_who_reads_nothing_is_closed_after_a_while(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LIFE_S", 0.3)
    with running.connect() as client:
        client.sendall(GET.replace(b"livez", b"large"))
        wait_for(lambda: running.open == 1 or bool(running.asked), 20, lambda: "not asked")
        wait_for(lambda: running.open == 0, 20, lambda: f"{running.open} open")


def test_who_says_nothing_is_closed_after_a_while(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LIFE_S", 0.3)
    clients = [running.connect() for _ in range(5)]
    assert [everything(client) for client in clients] == [b""] * 5
    for client in clients:
        client.close()


def test_a_thousand_slow_clients_do_not_keep_a_probe_out(running: Running) -> None:
    slow: list[socket.socket] = []
    try:
        for i in range(1000):
            client = running.connect()
            client.sendall(GET[: i % 30])
            slow.append(client)
            if i % 50 == 49:
                assert body_of(running.ask()) == b"well\n"
        assert running.open <= CONNECTIONS
        assert body_of(running.ask()) == b"well\n"
    finally:
        for client in slow:
            client.close()
    wait_for(lambda: running.open == 0, 20, lambda: f"{running.open} open")


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(running: Running) -> None:
    for i in range(200):
        client = running.connect()
        client.sendall(GET[: i % len(GET)])
        # A reset in place of an end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert body_of(running.ask()) == b"well\n"
    wait_for(lambda: running.open == 0, 20, lambda: f"{running.open} open")


def test_who_sends_without_end_is_closed(running: Running) -> None:
    with running.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 99999999\r\n\r\n")
        with pytest.raises(OSError):
            while True:
                client.sendall(b"b" * 65_536)
    assert body_of(running.ask()) == b"well\n"


def test_without_a_free_file_number_the_oldest_client_makes_room(running: Running) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    idle = [running.connect() for _ in range(20)]
    wait_for(lambda: running.open == 20, 20, lambda: f"{running.open} open")
    probe = socket.socket()  # made while that can still be done
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + 1, before[1]))
        probe.settimeout(20)
        probe.connect(("127.0.0.1", running.port))
        probe.sendall(GET)
        assert body_of(everything(probe)) == b"well\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for client in (*idle, probe):
            client.close()


def fuzz(running: Running, requests: int) -> None:
    draw = random.Random(11)
    for i in range(requests):
        with running.connect() as client:
            client.sendall(damaged(draw) if i % 2 else draw.randbytes(draw.randrange(1, 400)))
            if i % 500 == 0:
                assert body_of(running.ask()) == b"well\n"
    assert body_of(running.ask()) == b"well\n"
    wait_for(lambda: running.open == 0, 20, lambda: f"{running.open} open")


def test_malformed_requests_are_survived(running: Running) -> None:
    fuzz(running, 3_000)


@pytest.mark.soak
def test_a_hundred_thousand_malformed_requests_are_survived(running: Running) -> None:
    fuzz(running, 100_000)


def test_a_taken_port_is_an_error_of_the_one_who_comes_second(running: Running) -> None:
    second = Listener(select.epoll(), running.answer)
    with pytest.raises(OSError):
        second.listen(running.port)
    assert not second.listening


class Connected:
    """A listener whose clients and clock are the test's; each answer has a number of its own."""

    def __init__(self, shared: tuple[str, ...]) -> None:
        self.answers = 0
        self.epoll = select.epoll()
        self.listener = Listener(self.epoll, self.answer, shared)

    def answer(self, request: Request, peer: str) -> tuple[int, str, bytes]:
        self.answers += 1
        return 200, "text/plain", b"answer %d\n" % self.answers

    def ask(self, *pieces: bytes, now: float) -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = ours.detach()
            connection = listener.Connection(_socket.socket(fileno=fd), "127.0.0.1", now)
            self.listener._open[fd] = connection
            for piece in pieces:
                theirs.sendall(piece)
                self.listener.handle(fd, select.EPOLLIN, now)
            theirs.settimeout(20)
            body = everything(theirs).partition(b"\r\n\r\n")[2]
            self.listener.expire(now + 60)
            return body


def test_many_who_ask_the_same_at_once_share_an_answer_for_a_moment_only() -> None:
    asked = Connected(("/livez",))
    assert [asked.ask(GET, now=100.0 + i / 1000) for i in range(5)] == [b"answer 1\n"] * 5
    assert asked.ask(GET, now=100.0 + SHARED_S + 0.001) == b"answer 2\n"
    assert asked.answers == 2


def test_what_depends_on_who_asks_is_never_shared() -> None:
    asked = Connected(("/livez",))
    stalls = GET.replace(b"/livez", b"/stalls")
    assert [asked.ask(stalls, now=100.0) for _ in range(2)] == [b"answer 1\n", b"answer 2\n"]


def test_a_head_request_and_one_in_pieces_get_what_they_asked_for() -> None:
    asked = Connected(("/livez",))
    assert asked.ask(GET, now=100.0) == b"answer 1\n"
    assert asked.ask(GET.replace(b"GET", b"HEAD"), now=100.0) == b""
    assert asked.ask(GET[:9], GET[9:], now=100.0) == b"answer 3\n"
    assert asked.ask(GET[9:], now=100.0 + 9).startswith(b'{"status":"refused"')  # the end of one is no request
    assert asked.ask(GET, now=100.0) == b"answer 1\n"


def test_no_more_than_so_many_answers_are_kept() -> None:
    asked = Connected(("/livez",))
    for i in range(SHARED_REQUESTS * 3):
        asked.ask(GET.replace(b"pod", b"pod%d" % i), now=100.0)
    assert len(asked.listener._shared) <= SHARED_REQUESTS
