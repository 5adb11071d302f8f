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
    return await run_in_threadpool(
        subprocess.getoutput, await run_in_threadpool(subprocess.getoutput, "echo echo hello")
    )
