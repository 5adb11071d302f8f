# reason: in a lambda
import asyncio
import time


async def main():
    asyncio.get_running_loop().call_soon(lambda: time.sleep(0.1))
