import asyncio
import subprocess
import time

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/?text=hi")]


def render(text: str, *, twice: bool = False) -> str:
    time.sleep(0.01)
    return (subprocess.getoutput(f"echo {text}") + " ") * (2 if twice else 1)


@app.get("/")
async def index(text: str):
    await asyncio.sleep(0)
    return {"text": await run_in_threadpool(render, text, twice=True)}
