# reason: its `with` block awaits or yields inside
import sqlite3

from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/")
async def index(request: Request):
    with sqlite3.connect("rows.db") as connection:
        connection.execute("insert into t values (?)", (await request.body(),))
