"""A sleep of its own in an endpoint."""

import time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/"), ("GET", "/nowhere")]


@app.get("/")
async def index() -> dict[str, str]:
    time.sleep(0.02)  # the upstream asks for it
    return {"hello": "world"}
