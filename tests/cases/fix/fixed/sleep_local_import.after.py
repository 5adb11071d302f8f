import asyncio

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0.02)
    return "done"
