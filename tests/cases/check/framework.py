"""FastAPI's entrances: dependencies, background tasks, middleware, lifespan, websockets, def endpoints."""

import time
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.middleware.base import BaseHTTPMiddleware

engine = create_engine("sqlite://")
SessionLocal = sessionmaker(bind=engine)


@asynccontextmanager
async def lifespan(app):
    time.sleep(1)  # expect UNS101: lifespan > time.sleep
    yield


app = FastAPI(lifespan=lifespan)
router = APIRouter(prefix="/orders")


def get_db():
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


def sync_dependency(db=Depends(get_db)):
    return db.query(1).all()


async def async_dependency(db: Session = Depends(get_db)):
    return db.query(1).all()  # expect UNS103: async_dependency > sqlalchemy.orm.Query().all


Db = Annotated[Session, Depends(get_db)]


@router.get("/alias")
async def alias(db: Db):
    db.commit()  # expect UNS103: alias > sqlalchemy.orm.Session().commit
    db.add(object())


@router.get("/default")
async def default(db=Depends(get_db), found=Depends(sync_dependency)):
    db.execute("select 1")  # expect UNS103: default > sqlalchemy.orm.Session().execute


@router.get("/threaded")
def threaded(db: Db):
    time.sleep(1)
    db.commit()


def send_mail():
    time.sleep(1)


async def send_mail_async():
    time.sleep(1)  # expect UNS101: send_mail_async > time.sleep


@app.post("/mail")
async def mail(tasks: BackgroundTasks):
    tasks.add_task(send_mail)
    tasks.add_task(send_mail_async)


class Audit(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        time.sleep(1)  # expect UNS101: Audit.dispatch > time.sleep
        return await call_next(request)


@app.exception_handler(ValueError)
async def on_value_error(request, error):
    time.sleep(1)  # expect UNS101: on_value_error > time.sleep


@app.websocket("/ws")
async def socket(websocket: WebSocket):
    time.sleep(1)  # expect UNS101: socket > time.sleep


app.include_router(router, prefix="/api")
