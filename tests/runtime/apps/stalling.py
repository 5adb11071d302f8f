"""Ways to stall, one a route. Served by the tests from this folder."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI()


def deepest(seconds: float) -> None:
    time.sleep(seconds)  # STALLS: helper


def deeper(seconds: float) -> None:
    deepest(seconds)


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> dict[str, str]:
    deeper(seconds)
    return {}


@app.get("/gil")
async def gil() -> dict[str, str]:
    re.match(r"(a+)+$", "a" * 23 + "b")  # STALLS: gil
    return {}


async def dependency() -> None:
    time.sleep(0.3)  # STALLS: dependency


@app.get("/depends", dependencies=[Depends(dependency)])
async def depends() -> dict[str, str]:
    return {}


@app.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, str]:
    async def later() -> None:
        time.sleep(0.3)  # STALLS: background

    tasks.add_task(later)
    return {}


@app.get("/task")
async def task() -> dict[str, str]:
    async def later() -> None:
        await asyncio.sleep(0.05)
        time.sleep(0.3)  # STALLS: task

    app.state.task = asyncio.create_task(later())
    return {}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        time.sleep(0.3)  # STALLS: stream
        yield b"b"

    return StreamingResponse(chunks())


@app.websocket("/ws")
async def ws(socket: WebSocket) -> None:
    await socket.accept()
    async for _ in socket.iter_text():
        time.sleep(0.3)  # STALLS: ws
        await socket.send_text("done")


@app.get("/thread")
def thread() -> dict[str, str]:
    time.sleep(0.3)
    return {}


@app.get("/awaits/{seconds}")
async def awaits(seconds: float) -> dict[str, str]:
    await asyncio.sleep(seconds)
    return {}


@app.get("/short")
async def short() -> dict[str, str]:
    time.sleep(0.02)
    return {}


@app.get("/thread-gil")
def thread_gil() -> dict[str, str]:
    re.match(r"(a+)+$", "a" * 25 + "b")  # STALLS: thread-gil
    return {}


@app.get("/long-gil")
async def long_gil() -> dict[str, str]:
    re.match(r"(a+)+$", "a" * 40 + "b")  # STALLS: long-gil
    return {}


@app.get("/taken-signal")
async def taken_signal() -> dict[str, str]:
    signal.signal(signal.SIGUSR2, lambda *_: app.state.__setattr__("signalled", True))
    return {}


@app.get("/signalled")
async def signalled() -> dict[str, bool]:
    return {"signalled": getattr(app.state, "signalled", False)}


@app.get("/fork")
async def fork() -> dict[str, int]:
    child = os.fork()
    if child == 0:
        time.sleep(0.6)
        os._exit(0)
    return {"child": child}
