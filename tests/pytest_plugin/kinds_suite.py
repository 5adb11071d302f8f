"""A test-suite of the stalls that bench/stalls_app.py can make, one test each; copied and run by others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import stalls_app
from kinds import CALLS, COMPUTING, NEGATIVE
from starlette.testclient import TestClient

PATHS = {"deep": "/deep/3"}
COMPUTED = COMPUTING if os.environ.get("COMPUTING") else []


class Peer(threading.Thread):
    """Answers every connection after a while."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])

    def run(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            with connection:
                connection.recv(1000)
                time.sleep(stalls_app.STALL_S)
                connection.sendall(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    stalls_app.STALL_S = float(os.environ.get("STALL_S", "0.3"))
    peer = Peer()
    peer.start()
    fifo = tmp_path_factory.mktemp("fifo") / "fifo"
    os.mkfifo(fifo)
    os.environ["FIFO"] = str(fifo)
    stalls_app.SLOW = str(peer.port)
    if COMPUTED:
        for made in (
            stalls_app.big_json,
            stalls_app.big_list,
            stalls_app.numbers,
            stalls_app.noise,
            stalls_app.adapter,
        ):
            made()
    import requests  # noqa: F401  the first import is a stall of its own

    yield


async def ask(way: str) -> None:
    if way == "file":
        threading.Timer(0.2, lambda: Path(os.environ["FIFO"]).write_text("x")).start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(stalls_app.app), base_url="http://app") as client:
        await client.get(PATHS.get(way, "/" + way))
    if way in ("task", "callback"):
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def judged() -> AsyncIterator[None]:
    """The judge that is being compared: a peer by the name in PEER, else only what pytest itself was told."""
    peer = os.environ.get("PEER")
    if peer == "blockbuster":
        from blockbuster import blockbuster_ctx

        with blockbuster_ctx():
            yield
    elif peer == "pyleak":
        from pyleak import no_event_loop_blocking

        async with no_event_loop_blocking(action="raise", threshold=0.1):
            yield
    else:
        yield


@pytest.mark.parametrize("way", [*CALLS, *COMPUTED, *NEGATIVE])
async def test_way(way: str) -> None:
    async with judged():
        await ask(way)


@pytest.fixture
def judged_in_threads() -> Iterator[None]:
    """The same where the loop is in another thread: one of the peers has nothing for that."""
    if os.environ.get("PEER") == "blockbuster":
        from blockbuster import blockbuster_ctx

        with blockbuster_ctx():
            yield
    else:
        yield


def test_lifespan(judged_in_threads: None) -> None:
    with TestClient(stalls_app.app):
        pass


def test_ws(judged_in_threads: None) -> None:
    with TestClient(stalls_app.app).websocket_connect("/ws") as peer:
        peer.send_text("go")
        peer.receive_text()
