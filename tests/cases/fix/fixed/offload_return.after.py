import asyncio
import subprocess
import sys

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return (await run_in_threadpool(
        subprocess.check_output,
        [sys.executable, "-c", "print('é')"],
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"},
    )).strip()
