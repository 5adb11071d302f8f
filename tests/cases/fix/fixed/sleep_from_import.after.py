import asyncio
import os
from time import time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    began = time()
    await asyncio.sleep(0.02)
    return {"late": time() > began, "sep": os.sep}
