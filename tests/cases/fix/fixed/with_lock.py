import asyncio
import threading

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/"), ("GET", "/")]
lock = threading.Lock()
words: list[str] = []


@app.get("/")
async def index():
    await asyncio.sleep(0)
    with lock:
        words.append("word")
        length = len(words)
    return length
