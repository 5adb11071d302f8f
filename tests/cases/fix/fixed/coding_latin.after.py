# -*- coding: latin-1 -*-
import asyncio

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    word = "café"; await asyncio.sleep(0.01)
    return word
