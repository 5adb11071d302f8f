import sqlite3

from fastapi import APIRouter, FastAPI, HTTPException

router = APIRouter(prefix="/rows")
REQUESTS = [("GET", "/rows/1"), ("GET", "/rows/9"), ("GET", "/rows/x")]


@router.get("/{number}")
def row(number: int):
    connection = sqlite3.connect(":memory:")
    found = connection.execute("select ? where ? < 5", (number, number)).fetchone()
    connection.close()
    if found is None:
        raise HTTPException(404, "no such row")
    return {"row": found[0]}


app = FastAPI()
app.include_router(router)
