import asyncio
import subprocess

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/one"), ("GET", "/two")]


def say(word: str) -> str:
    return subprocess.getoutput(f"echo {word}")


@app.get("/one")
async def one():
    return say("one")


@app.get("/two")
async def two():
    await asyncio.sleep(0)
    return [say("two")]
