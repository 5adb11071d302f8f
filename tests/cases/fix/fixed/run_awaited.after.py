import asyncio

from fastapi import FastAPI

app = FastAPI()


async def later(text: str) -> str:
    await asyncio.sleep(0.01)
    return text


async def main() -> str:
    return (await later("a")).upper()
