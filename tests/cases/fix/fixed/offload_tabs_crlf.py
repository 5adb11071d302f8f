import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool as in_pool

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
	await asyncio.sleep(0)
	text = subprocess.getoutput ("echo tab")
	await in_pool(str)
	return text
