"""App C: the same blocking call behind a plain `def` endpoint, which FastAPI runs in its thread pool."""

import os
import time

from fastapi import FastAPI

HELLO_SECONDS = float(os.environ.get("HELLO_SECONDS", "3"))

app = FastAPI()


@app.get("/hello")
def hello() -> dict[str, str]:
    """Answer late, in a thread of the pool."""
    time.sleep(HELLO_SECONDS)
    return {"hello": "world"}


@app.get("/health")
async def health() -> dict[str, str]:
    """What the liveness probe asks."""
    return {"status": "ok"}
