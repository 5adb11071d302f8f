# reason: sets the context variable `tenant`, which would be lost outside of the thread
import asyncio
import subprocess
from contextvars import ContextVar

from fastapi import FastAPI

app = FastAPI()
tenant: ContextVar[str] = ContextVar("tenant")


def choose(name):
    tenant.set(subprocess.getoutput(f"echo {name}"))


@app.get("/")
async def index():
    await asyncio.sleep(0)
    choose("a")
    return tenant.get()
