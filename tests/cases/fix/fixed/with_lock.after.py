import asyncio
import threading

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/"), ("GET", "/")]
lock = threading.Lock()
words: list[str] = []


@app.get("/")
async def index():
    await asyncio.sleep(0)

    def locked():
        with lock:
            words.append("word")
            length = len(words)
        return length

    length = await run_in_threadpool(locked)
    return length
