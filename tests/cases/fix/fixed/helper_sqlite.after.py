import asyncio
import sqlite3

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


def rows():
    connection = sqlite3.connect(":memory:")
    found = connection.execute("select 1, 2").fetchall()
    connection.close()
    return found


@app.get("/")
async def index():
    await asyncio.sleep(0)
    return await run_in_threadpool(rows)
