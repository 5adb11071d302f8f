import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/one"), ("GET", "/two")]


def say(word: str) -> str:
    return subprocess.getoutput(f"echo {word}")


@app.get("/one")
def one():
    return say("one")


@app.get("/two")
async def two():
    await asyncio.sleep(0)
    return [await run_in_threadpool(say, "two")]
