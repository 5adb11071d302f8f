import asyncio
import subprocess
import sys

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return [subprocess.check_output([sys.executable, "-c", "print('a b')"]).split()[0].decode(), subprocess.getoutput("echo c")]
