"""App B: the same delay awaited in a helper, so the event loop serves others meanwhile."""

import asyncio
import os

from fastapi import FastAPI

HELLO_SECONDS = float(os.environ.get("HELLO_SECONDS", "3"))

app = FastAPI()


async def hello() -> dict[str, str]:
    """Answer late, without keeping anybody waiting."""
    await asyncio.sleep(HELLO_SECONDS)
    return {"hello": "world"}


@app.get("/hello")
async def hello_endpoint() -> dict[str, str]:
    """The endpoint awaits its helper."""
    return await hello()


@app.get("/health")
async def health() -> dict[str, str]:
    """What the liveness probe asks."""
    return {"status": "ok"}
