import asyncio
import os
import tempfile

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("POST", "/")]


@app.post("/")
async def index():
    await asyncio.sleep(0)
    path = os.path.join(tempfile.gettempdir(), f"unstall-case-{os.getpid()}")

    def write_file():
        with open(path, "w") as file: file.write("12345")

    await run_in_threadpool(write_file)
    size = (await run_in_threadpool(os.stat, path)).st_size
    await run_in_threadpool(os.unlink, path)
    return size
