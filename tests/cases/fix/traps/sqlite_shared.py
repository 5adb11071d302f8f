# reason: a sqlite3 connection may be used in the thread that made it only
import sqlite3

from fastapi import FastAPI

app = FastAPI()
connection = sqlite3.connect(":memory:")


@app.get("/")
async def index():
    return connection.execute("select 1").fetchone()
