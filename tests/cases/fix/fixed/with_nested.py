import asyncio
import os

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    if True:
        await asyncio.sleep(0)
        with open(os.devnull, "rb") as source:
            with open(os.devnull, "wb") as target:
                data = source.read()
                target.write(data)
        return len(data)
