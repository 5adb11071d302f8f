# reason: it is given more than a coroutine
import asyncio


async def inner():
    return 1


async def main():
    return asyncio.run(inner(), debug=True)
