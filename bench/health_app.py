"""What `bench_health.py` serves."""

from __future__ import annotations

import json
import time

from fastapi import FastAPI

LARGE = json.dumps([{"number": i, "text": "x" * 20} for i in range(120_000)])
app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    return {}


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> dict[str, str]:
    time.sleep(seconds)
    return {}


@app.get("/json/{seconds}")
async def hold_by_json(seconds: float) -> dict[str, str]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        json.loads(LARGE)
    return {}
