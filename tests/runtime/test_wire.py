"""The bytes of strangers: what is a request, what is refused, and that nothing else can come of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unstall.runtime import wire

KUBELET = b"GET /livez HTTP/1.1\r\nHost: 10.0.0.7:8099\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n"


def status_of(data: bytes) -> int | str:
    """200 where it is a request, the status it is refused with, or ``more``."""
    try:
        return "more" if wire.parse(data) is None else 200
    except wire.Refused as refused:
        return refused.status


def test_a_kubelets_request_is_read() -> None:
    request = wire.parse(KUBELET)
    assert request is not None
    assert (request.method, request.path) == ("GET", "/livez")
    assert request.headers["user-agent"] == "kube-probe/1.36"


def test_a_request_in_pieces_is_waited_for_at_every_byte() -> None:
    assert {status_of(KUBELET[:n]) for n in range(len(KUBELET))} == {"more"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HEAD / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.0\n\n", 200),
        (b"\r\nGET / HTTP/1.0\r\n\r\n", 200),
        (b"GET http://pod:8099/livez?verbose HTTP/1.1\r\nHost: pod\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nNul: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET livez HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\r\n\r\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * wire.HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * wire.HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET", "more"),
        (b"", "more"),
    ],
)
def test_what_is_no_plain_request_is_refused_as_soon_as_that_is_certain(data: bytes, status: int | str) -> None:
    assert status_of(data) == status


def test_a_path_is_read_without_its_query_and_without_a_proxys_host() -> None:
    for target in (b"/livez?verbose=1", b"http://pod:8099/livez", b"/livez#x"):
        request = wire.parse(b"GET " + target + b" HTTP/1.1\r\nHost: pod\r\n\r\n")
        assert request is not None
        assert request.path == "/livez"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused_or_not_complete(data: bytes) -> None:
    assert status_of(data) in (200, 400, 431, 505, "more")


def test_a_hundred_thousand_damaged_requests_are_refused_or_read() -> None:
    draw = random.Random(7)
    counted: dict[int | str, int] = {}
    for _ in range(100_000):
        status = status_of(damaged(draw))
        counted[status] = counted.get(status, 0) + 1
    assert set(counted) <= {200, 400, 431, 505, "more"}
    assert counted[400] > 10_000


def damaged(draw: random.Random) -> bytes:
    """A kubelet's request with some bytes changed, lost, doubled or swapped for words that mean something."""
    data = bytearray(KUBELET)
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(5):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at : at + draw.randrange(1, 20)]
            case 2:
                data[at:at] = data[at : at + draw.randrange(1, 30)]
            case 3:
                data[at:at] = draw.choice([b"\r\n", b"\n\n", b"\0", b"HTTP/1.1", b"Host: ", b" ", b":", b"\xff" * 9])
            case _:
                data[at:at] = draw.randbytes(draw.randrange(1, 50))
    return bytes(data)


def test_an_answer_is_dated_measured_and_the_last_of_its_connection() -> None:
    assert wire.head(405, wire.JSON, 12, 784_111_777.0).decode() == (
        "HTTP/1.1 405 Method Not Allowed\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Content-Type: application/json\r\nContent-Length: 12\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
    )
