import asyncio
import subprocess
import sys

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    done = subprocess.run(
        [sys.executable, "-c", "print(42)"],
        capture_output=True,  # kept
        text=True,
        check=True,
    )
    return {"answer": done.stdout.strip()}
