# reason: needs the event loop
import asyncio
import subprocess

from fastapi import FastAPI

app = FastAPI()


async def log(word):
    return word


def start():
    word = subprocess.getoutput("echo a")
    asyncio.create_task(log(word))


@app.get("/")
async def index():
    start()
