import subprocess

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.middleware("http")
async def stamp(request: Request, call_next):
    response = await call_next(request)
    response.headers["x-stamp"] = await run_in_threadpool(
        subprocess.getoutput, "echo stamped"
    )
    return response


@app.get("/")
async def index():
    return "ok"
