import asyncio
import subprocess
import sys

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/"), ("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    child = await run_in_threadpool(
        subprocess.Popen, [sys.executable, "-c", "print(7)"], stdout=subprocess.PIPE
    )
    out, _ = await run_in_threadpool(child.communicate)
    return {"out": out.decode().strip(), "status": await run_in_threadpool(child.wait)}
