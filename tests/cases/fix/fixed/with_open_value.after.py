import asyncio
import os

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    text = """two
    lines"""

    def read_file():
        with open(os.devnull, encoding="utf-8") as file:
            head = file.readline()
            rest = """
    kept
""" + file.read()
        return head, rest

    head, rest = await run_in_threadpool(read_file)
    return {"text": text, "head": head, "rest": rest}
