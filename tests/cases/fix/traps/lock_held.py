# reason: the lock `lock` is held across it
import asyncio
import threading
import time

from fastapi import FastAPI

app = FastAPI()
lock = threading.Lock()


@app.get("/")
async def index():
    await asyncio.sleep(0)
    with lock:
        time.sleep(0.01)
        await asyncio.sleep(0)
