import asyncio
import os

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)

    def read_file():
        with open(os.devnull) as file:
            # nothing in there
            return {"text": file.read()}

    return await run_in_threadpool(read_file)
