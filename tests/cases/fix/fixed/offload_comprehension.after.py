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
    return {n: await run_in_threadpool(subprocess.call, [sys.executable, "-c", f"raise SystemExit({n})"]) for n in range(3) if n != 1}
