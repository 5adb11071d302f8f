import asyncio
import os

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    if True:
        await asyncio.sleep(0)

        def read_file():
            with open(os.devnull, "rb") as source:
                with open(os.devnull, "wb") as target:
                    data = source.read()
                    target.write(data)
            return data

        data = await run_in_threadpool(read_file)
        return len(data)
