import asyncio
import subprocess
import sys

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/"), ("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    child = subprocess.Popen([sys.executable, "-c", "print(7)"], stdout=subprocess.PIPE)
    out, _ = child.communicate()
    return {"out": out.decode().strip(), "status": child.wait()}
