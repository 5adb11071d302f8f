import asyncio
import subprocess

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


def apply(func, word):
    return func(subprocess.getoutput(f"echo {word}"))


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return apply(func=str.upper, word="x")
