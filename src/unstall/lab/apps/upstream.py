"""App A of experiment 1b: a synchronous HTTP client inside `async def`, the usual real cause."""

import os

import requests
from fastapi import FastAPI

UPSTREAM_URL = os.environ.get("UPSTREAM_URL", "http://127.0.0.1:8001/hello")

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    """Ask service B and keep the event loop waiting for its answer."""
    answer: dict[str, str] = requests.get(UPSTREAM_URL, timeout=60).json()
    return answer


@app.get("/health")
async def health() -> dict[str, str]:
    """What the liveness probe asks."""
    return {"status": "ok"}
