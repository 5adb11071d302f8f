# reason: the session is used elsewhere in the coroutine too
import httpx
from fastapi import Depends, FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session

from .db import User, get_session

app = FastAPI()


@app.get("/{key}")
async def index(key: int, session: Session = Depends(get_session)):
    user = session.execute(select(User).where(User.id == key)).scalar_one()
    async with httpx.AsyncClient() as client:
        await client.get("http://127.0.0.1/")
    session.commit()
    return user
