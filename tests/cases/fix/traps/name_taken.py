# reason: the name `asyncio` means something else
import time


async def main(asyncio=None):
    time.sleep(0.1)
    return asyncio
