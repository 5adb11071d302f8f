import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return f"{await run_in_threadpool(subprocess.getoutput, 'echo hello')}, world"
