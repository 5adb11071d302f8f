"""Fifty ways to stall an event loop, each at a marked line; served by bench_watch.py, see environment.py."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import functools
import gc
import hashlib
import http.client
import json
import os
import queue
import re
import select
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

STALL_S = 0.3
SLOW = os.environ.get("SLOW_PORT", "0")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await asyncio.sleep(0.2)
    time.sleep(STALL_S)  # WAY: lifespan
    yield


class Refused(Exception): ...


class Slow(JSONResponse):
    def render(self, content: Any) -> bytes:
        time.sleep(STALL_S)  # WAY: render
        return super().render(content)


class InClass:
    """A dependency that is a class: its constructor runs on the loop only where it is called from a coroutine."""

    def __init__(self) -> None:
        time.sleep(STALL_S)  # WAY: constructor


app = FastAPI(lifespan=lifespan)
router, inner, below = APIRouter(prefix="/api"), APIRouter(), FastAPI()
pool = concurrent.futures.ThreadPoolExecutor(1)


@app.middleware("http")
async def middleware(request: Request, call_next: Any) -> Any:
    if request.url.path == "/middleware":
        time.sleep(STALL_S)  # WAY: middleware
    return await call_next(request)


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


@app.get("/innocent/{n}")
async def innocent(n: int) -> dict[str, str]:
    await asyncio.sleep(n)
    return {}


@app.get("/sleep")
async def sleep() -> None:
    time.sleep(STALL_S)  # WAY: sleep


@app.get("/http")
async def http_() -> None:
    urllib.request.urlopen(f"http://127.0.0.1:{SLOW}/").read()  # WAY: http


@app.get("/requests")
async def requests_() -> None:
    import requests

    requests.get(f"http://127.0.0.1:{SLOW}/", timeout=9)  # WAY: requests


@app.get("/socket")
async def socket_() -> None:
    with socket.create_connection(("127.0.0.1", int(SLOW))) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        s.recv(100)  # WAY: socket


@app.get("/file")
async def file() -> None:
    with open(os.environ["FIFO"]) as f:  # WAY: file
        f.read()


@app.get("/fsync")
async def fsync() -> None:
    with tempfile.NamedTemporaryFile() as f:
        until = time.monotonic() + STALL_S
        while time.monotonic() < until:
            f.write(b"x" * 100_000)
            os.fsync(f.fileno())  # WAY: fsync


@app.get("/sqlite")
async def sqlite() -> None:
    query = "with recursive c(x) as (select 1 union all select x + 1 from c limit 1500000) select sum(x) from c"
    sqlite3.connect(":memory:").execute(query).fetchone()  # WAY: sqlite


@app.get("/sqlite-lock")
async def sqlite_lock() -> None:
    path = os.environ["FIFO"] + ".db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    with contextlib.suppress(sqlite3.OperationalError):
        sqlite3.connect(path, timeout=STALL_S).execute("create table t (a)")  # WAY: sqlite-lock
    holder.rollback()


@app.get("/subprocess")
async def subprocess_() -> None:
    subprocess.run(["sleep", str(STALL_S)], check=True)  # WAY: subprocess


@app.get("/system")
async def system() -> None:
    os.system(f"sleep {STALL_S}")  # WAY: system


@app.get("/lock")
async def lock() -> None:
    held = threading.Lock()
    held.acquire()
    held.acquire(timeout=STALL_S)  # WAY: lock


@app.get("/event")
async def event() -> None:
    threading.Event().wait(STALL_S)  # WAY: event


@app.get("/queue")
async def queue_() -> None:
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=STALL_S)  # WAY: queue


@app.get("/future")
async def future() -> None:
    pool.submit(time.sleep, STALL_S).result()  # WAY: future


@app.get("/join")
async def join() -> None:
    thread = threading.Thread(target=time.sleep, args=(STALL_S,))
    thread.start()
    thread.join()  # WAY: join


@app.get("/cpu")
async def cpu() -> None:
    until = time.monotonic() + STALL_S
    while time.monotonic() < until:
        sum(range(1000))  # WAY: cpu


@app.get("/re")
async def re_() -> None:
    re.match(r"(a+)+$", "a" * 22 + "b")  # WAY: re


@functools.cache
def big_json() -> str:
    return json.dumps([{"a": i, "b": [i] * 5} for i in range(150_000)])


@app.get("/json")
async def json_() -> None:
    json.loads(big_json())  # WAY: json


@app.get("/dumps")
async def dumps() -> None:
    json.dumps(big_list())  # WAY: dumps


@functools.cache
def big_list() -> list[Any]:
    return [{"a": i, "b": [i] * 5} for i in range(150_000)]


@app.get("/sort")
async def sort() -> None:
    sorted(numbers())  # WAY: sort


@functools.cache
def numbers() -> list[float]:
    import random

    return [random.random() for _ in range(700_000)]


@app.get("/int")
async def int_() -> None:
    pow(3, 700_000) % 7 + pow(7, 650_000) % 5 + pow(11, 650_000) % 3  # WAY: int


@app.get("/pbkdf2")
async def pbkdf2() -> None:
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 600_000)  # WAY: pbkdf2


@app.get("/scrypt")
async def scrypt() -> None:
    hashlib.scrypt(b"x", salt=b"y", n=2**16, r=8, p=1, maxmem=2**28)  # WAY: scrypt


@app.get("/zlib")
async def zlib_() -> None:
    zlib.compress(noise(), 9)  # WAY: zlib


@functools.cache
def noise() -> bytes:
    return os.urandom(9_000_000)


@app.get("/pydantic")
async def pydantic() -> None:
    from pydantic import TypeAdapter

    adapter().validate_json(big_json())  # WAY: pydantic
    assert TypeAdapter


@functools.cache
def adapter() -> Any:
    from pydantic import BaseModel, TypeAdapter

    class Row(BaseModel):
        a: int
        b: list[int]

    return TypeAdapter(list[Row])


async def dependency() -> None:
    time.sleep(STALL_S)  # WAY: depends


@app.get("/depends", dependencies=[Depends(dependency)])
async def depends() -> None: ...


@app.get("/middleware")
async def after_middleware() -> None: ...


@app.get("/background")
async def background(tasks: BackgroundTasks) -> None:
    async def later() -> None:
        time.sleep(STALL_S)  # WAY: background

    tasks.add_task(later)


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        time.sleep(STALL_S)  # WAY: stream
        yield b"b"

    return StreamingResponse(chunks())


@app.get("/task")
async def task() -> None:
    async def later() -> None:
        await asyncio.sleep(0.05)
        time.sleep(STALL_S)  # WAY: task

    app.state.task = asyncio.create_task(later())


@app.get("/gather")
async def gather() -> None:
    async def part() -> None:
        time.sleep(STALL_S)  # WAY: gather

    await asyncio.gather(part(), asyncio.sleep(0))


def blocks_in_callback() -> None:
    time.sleep(STALL_S)  # WAY: callback


@app.get("/callback")
async def callback() -> None:
    asyncio.get_running_loop().call_later(0.05, blocks_in_callback)


@app.websocket("/ws")
async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    time.sleep(STALL_S)  # WAY: ws
    await websocket.send_text("done")


def third() -> Iterator[int]:
    time.sleep(STALL_S)  # WAY: deep
    yield 1


def second() -> int:
    return sum(third())


def first() -> int:
    return second()


@app.get("/dns")
async def dns() -> None:
    with contextlib.suppress(OSError):
        socket.getaddrinfo("unstall.example", 80, type=socket.SOCK_STREAM)  # WAY: dns


@app.get("/http-client")
async def http_client() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(SLOW), timeout=9)
    connection.request("GET", "/")
    connection.getresponse()  # WAY: http-client


@app.get("/sqlalchemy")
async def sqlalchemy_() -> None:
    import sqlalchemy

    query = "with recursive c(x) as (select 1 union all select x + 1 from c limit 1500000) select sum(x) from c"
    with engine().connect() as connection:
        connection.execute(sqlalchemy.text(query)).all()  # WAY: sqlalchemy


@functools.cache
def engine() -> Any:
    import sqlalchemy

    return sqlalchemy.create_engine("sqlite://")


@app.get("/bcrypt")
async def bcrypt_() -> None:
    import bcrypt

    bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=12))  # WAY: bcrypt


@app.get("/numpy")
async def numpy_() -> None:
    import numpy

    until = time.monotonic() + STALL_S
    while time.monotonic() < until:
        numpy.sort(noise_array())  # WAY: numpy


@functools.cache
def noise_array() -> Any:
    import numpy

    return numpy.random.default_rng(1).random(6_000_000)


@app.get("/flock")
async def flock() -> None:
    import fcntl

    with open(os.environ["FIFO"] + ".lock", "w") as mine, open(os.environ["FIFO"] + ".lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        threading.Timer(STALL_S, fcntl.flock, (other, fcntl.LOCK_UN)).start()
        fcntl.flock(mine, fcntl.LOCK_EX)  # WAY: flock


@app.get("/select")
async def select_() -> None:
    select.select([], [], [], STALL_S)  # WAY: select


@app.get("/regex-sub")
async def regex_sub() -> None:
    re.sub(r"(x+x+)+y", "", "x" * 21)  # WAY: regex-sub


@app.get("/deepcopy")
async def deepcopy() -> None:
    copy.deepcopy(tree())  # WAY: deepcopy


@functools.cache
def tree() -> Any:
    return [{"a": i, "b": [i] * 5} for i in range(75_000)]


@app.get("/gc")
async def gc_() -> None:
    big_list()
    for _ in range(3):
        gc.collect()  # WAY: gc


@app.get("/constructor")
async def constructor() -> None:
    InClass()


@app.get("/render", response_class=Slow)
async def render() -> dict[str, str]:
    return {}


@app.get("/handler")
async def handler() -> None:
    raise Refused


@app.exception_handler(Refused)
async def refused(request: Request, error: Exception) -> JSONResponse:
    time.sleep(STALL_S)  # WAY: handler
    return JSONResponse({})


async def opened() -> AsyncIterator[None]:
    yield
    time.sleep(STALL_S)  # WAY: generator


@app.get("/generator", dependencies=[Depends(opened)])
async def generator() -> None: ...


@app.get("/soon")
async def soon() -> None:
    asyncio.get_running_loop().call_soon(blocks_soon)


def blocks_soon() -> None:
    time.sleep(STALL_S)  # WAY: soon


@app.get("/done")
async def done() -> None:
    asyncio.ensure_future(asyncio.sleep(0.05)).add_done_callback(blocks_when_done)


def blocks_when_done(_: Any) -> None:
    time.sleep(STALL_S)  # WAY: done


@inner.get("/orders/{order_id}")
async def order(order_id: int) -> None:
    time.sleep(STALL_S)  # WAY: router


@below.get("/reports/{name}")
async def report(name: str) -> None:
    time.sleep(STALL_S)  # WAY: mounted


@inner.get("/held/{n}")
async def held(n: int) -> None:
    re.match(r"(a+)+$", "a" * 22 + "b")  # WAY: router-held


router.include_router(inner, prefix="/v1")
app.include_router(router)
app.mount("/below", below)


@app.get("/deep/{n}")
async def deep(n: int) -> int:
    return first()


@app.get("/negative/thread")
def in_thread() -> None:
    time.sleep(STALL_S)


def in_generator() -> Iterator[None]:
    time.sleep(STALL_S)
    yield
    time.sleep(STALL_S)


@app.get("/negative/generator", dependencies=[Depends(in_generator)])
async def sync_generator() -> None: ...


@app.get("/negative/executor")
async def executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, STALL_S)


@app.get("/negative/to_thread")
async def to_thread() -> None:
    await asyncio.to_thread(time.sleep, STALL_S)


@app.get("/negative/short")
async def short() -> None:
    until = time.monotonic() + 0.01
    while time.monotonic() < until:
        pass
