# -*- coding: latin-1 -*-
import time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    word = "café"; time.sleep(0.01)
    return word
