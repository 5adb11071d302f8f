"""Files that get a whole upload or download are as long as it is; other reads and writes stay short."""

import asyncio
import json
from pathlib import Path

import aiofiles
import aiohttp
import httpx
import requests
from fastapi import FastAPI, Request, UploadFile

app = FastAPI()


@app.post("/upload")
async def upload(file: UploadFile, folder: Path):
    content = await file.read()
    with open(folder / "a", "wb") as out:
        out.write(content)  # expect UNS104: upload > open().write
    (folder / "b").write_bytes(await file.read())  # expect UNS104: upload > pathlib.Path().write_bytes


@app.post("/body")
async def body(request: Request):
    Path("a").write_bytes(await request.body())  # expect UNS104: body > pathlib.Path().write_bytes


async def download():
    async with httpx.AsyncClient() as client:
        found = await client.get("http://x")
        Path("a").write_bytes(found.content)  # expect UNS104: download > pathlib.Path().write_bytes
    found = await asyncio.to_thread(requests.get, "http://x")
    Path("b").write_text(found.text)  # expect UNS104: download > pathlib.Path().write_text


async def aiohttp_download(session: aiohttp.ClientSession):
    async with session.get("http://x") as response:
        Path("a").write_bytes(await response.read())  # expect UNS104: aiohttp_download > pathlib.Path().write_bytes


@app.post("/pieces")
async def pieces(file: UploadFile):
    with open("a", "wb") as out:
        while piece := await file.read(65536):
            out.write(piece)


@app.post("/settings")
async def settings(changes: dict):
    Path("settings.json").write_text(json.dumps(changes))
    with open("settings.json") as found:
        return json.loads(found.read())


@app.post("/async")
async def in_async(file: UploadFile):
    async with aiofiles.open("a", "wb") as out:
        await out.write(await file.read())
    await asyncio.to_thread(Path("b").write_bytes, await file.read())
