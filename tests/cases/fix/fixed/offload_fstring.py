import asyncio
import subprocess

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return f"{subprocess.getoutput('echo hello')}, world"
