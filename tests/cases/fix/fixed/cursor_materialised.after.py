import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


def lines():
    for number in range(2):
        yield subprocess.getoutput(f"echo {number}")


@app.get("/")
async def index():
    await asyncio.sleep(0)
    first = await run_in_threadpool(list, lines())
    return first + await run_in_threadpool(sorted, lines(), reverse=True)
