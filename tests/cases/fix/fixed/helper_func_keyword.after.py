import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


def apply(func, word):
    return func(subprocess.getoutput(f"echo {word}"))


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return await run_in_threadpool(lambda: apply(func=str.upper, word="x"))
