"""Stalls that last until the process is killed."""

import re
import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


@app.get("/sleep")
async def sleep() -> None:
    time.sleep(60)


@app.get("/cpu")
async def cpu() -> None:
    while True:
        pass


@app.get("/re")
async def re_() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")
