# reason: only with --unsafe: a cancelled request may close the session while the thread still uses it
import asyncio

from fastapi import Depends, FastAPI
from sqlalchemy.orm import Session

from .db import User, get_session

app = FastAPI()


def load(session: Session, key: int):
    return session.get(User, key)


@app.get("/{key}")
async def index(key: int, session: Session = Depends(get_session)):
    await asyncio.sleep(0)
    user = load(session, key)
    session.expunge(user)
    return user
