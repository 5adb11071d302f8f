"""Ways to be unwell, for the health port."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

START_S = float(os.environ.get("START_SECONDS", "0"))
STOP_S = float(os.environ.get("STOP_SECONDS", "0"))
LARGE = json.dumps([{"number": i, "text": "x" * 20} for i in range(120_000)])
released = threading.Event()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await asyncio.sleep(START_S)
    yield
    await asyncio.sleep(STOP_S)


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> dict[str, str]:
    time.sleep(seconds)
    return {}


@app.get("/awaits/{seconds}")
async def awaits(seconds: float) -> dict[str, str]:
    await asyncio.sleep(seconds)
    return {}


@app.get("/json/{seconds}")
async def hold_by_json(seconds: float) -> dict[str, int]:
    """Holds the GIL in one `json.loads` after the other, without a line of Python in between that counts."""
    until, times = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        json.loads(LARGE)
        times += 1
    return {"times": times}


@app.get("/gil")
async def hold_for_good() -> dict[str, str]:
    re.match(r"(a+)+$", "a" * 40 + "b")
    return {}


def render_page() -> None:
    released.wait(60)


@app.get("/thread")
def thread() -> dict[str, str]:
    render_page()
    return {}


@app.get("/release")
async def release() -> dict[str, str]:
    released.set()
    return {}
