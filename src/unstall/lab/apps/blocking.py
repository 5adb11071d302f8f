"""App A: a synchronous call inside `async def`, so the event loop stops for everybody."""

import os
import time

from fastapi import FastAPI

HELLO_SECONDS = float(os.environ.get("HELLO_SECONDS", "3"))

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    """Answer late, and keep the whole event loop waiting."""
    time.sleep(HELLO_SECONDS)
    return {"hello": "world"}


@app.get("/health")
async def health() -> dict[str, str]:
    """What the liveness probe asks."""
    return {"status": "ok"}
