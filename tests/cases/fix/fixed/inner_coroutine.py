import subprocess

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


async def fetch() -> str:
    text = subprocess.getoutput("echo inner")
    return text


@app.get("/")
async def index():
    return await fetch()
