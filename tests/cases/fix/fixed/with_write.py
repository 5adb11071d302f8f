import asyncio
import os
import tempfile

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("POST", "/")]


@app.post("/")
async def index():
    await asyncio.sleep(0)
    path = os.path.join(tempfile.gettempdir(), f"unstall-case-{os.getpid()}")
    with open(path, "w") as file: file.write("12345")
    size = os.stat(path).st_size
    os.unlink(path)
    return size
