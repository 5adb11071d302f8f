import asyncio
import subprocess
import sys

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return {n: subprocess.call([sys.executable, "-c", f"raise SystemExit({n})"]) for n in range(3) if n != 1}
