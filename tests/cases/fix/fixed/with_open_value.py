import asyncio
import os

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    await asyncio.sleep(0)
    text = """two
    lines"""
    with open(os.devnull, encoding="utf-8") as file:
        head = file.readline()
        rest = """
    kept
""" + file.read()
    return {"text": text, "head": head, "rest": rest}
