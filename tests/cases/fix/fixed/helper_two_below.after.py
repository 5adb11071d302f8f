import asyncio
import subprocess

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

app = FastAPI()
REQUESTS = [("GET", "/")]


class Store:
    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def load(self, word: str) -> str:
        if word not in self.words:
            self.words[word] = self._fetch(word)
        return self.words[word]

    def _fetch(self, word: str) -> str:
        return subprocess.getoutput(f"echo {word}")


store = Store()


@app.get("/")
async def index():
    await asyncio.sleep(0)
    first = await run_in_threadpool(store.load, "a")
    return first + await run_in_threadpool(store.load, word="b")
