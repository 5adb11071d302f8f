import asyncio
import sqlite3

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)

    def work():
        with sqlite3.connect(":memory:") as connection:
            connection.execute("create table t (a)")
            connection.execute("insert into t values (1), (2)")
            rows = connection.execute("select a from t").fetchall()
        return rows

    rows = await run_in_threadpool(work)
    return [row[0] for row in rows]
