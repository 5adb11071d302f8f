# reason: is called by the event loop itself and is no coroutine
import asyncio
import time


def tick():
    time.sleep(0.1)


async def main():
    asyncio.get_running_loop().call_soon(tick)
