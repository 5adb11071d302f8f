import asyncio
import subprocess
import sys

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/1"), ("GET", "/0")]


@app.get("/{number}")
async def index(number: int):
    await asyncio.sleep(0)
    if number and not await run_in_threadpool(
        subprocess.call, [sys.executable, "-c", ""]
    ):
        return "ran"
    while number == 0 or await run_in_threadpool(subprocess.call, [sys.executable, "-c", ""]) > 0:
        return "skipped"
    return "never"
