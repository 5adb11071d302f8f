from __future__ import annotations

import asyncio as aio
import time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/?n=2")]


@app.get("/")
async def index(n: int = 1):
    for number in range(n):
        if number:
            time.sleep(0.01 * number)
        await aio.sleep(0)
    return {"n": n, "at": time.strftime("%Y")[:2]}
