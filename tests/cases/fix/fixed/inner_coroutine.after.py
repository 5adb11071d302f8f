import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


async def fetch() -> str:
    text = await run_in_threadpool(subprocess.getoutput, "echo inner")
    return text


@app.get("/")
async def index():
    return await fetch()
