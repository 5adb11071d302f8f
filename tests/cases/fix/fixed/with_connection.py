import asyncio
import sqlite3

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table t (a)")
        connection.execute("insert into t values (1), (2)")
        rows = connection.execute("select a from t").fetchall()
    return [row[0] for row in rows]
