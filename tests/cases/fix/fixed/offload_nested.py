import asyncio
import subprocess
import sys

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return subprocess.getoutput(subprocess.getoutput("echo echo hello"))
