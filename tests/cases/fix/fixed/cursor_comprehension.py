import asyncio
import subprocess

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


def lines():
    for number in range(2):
        yield subprocess.getoutput(f"echo {number}")


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return [line + "!" for line in lines()]
