import asyncio
import os

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    with open(os.devnull) as file:
        # nothing in there
        return {"text": file.read()}
