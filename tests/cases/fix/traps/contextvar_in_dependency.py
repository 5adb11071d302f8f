# reason: sets the context variable `user`
import subprocess
from contextvars import ContextVar

from fastapi import Depends, FastAPI

app = FastAPI()
user = ContextVar("user")


def remember(name):
    user.set(name)
    return subprocess.getoutput("echo a")


async def current():
    return remember("a")


@app.get("/")
async def index(name=Depends(current)):
    return user.get()
