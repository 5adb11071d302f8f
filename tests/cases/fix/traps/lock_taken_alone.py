# reason: the lock would be taken by a thread that does not give it back
import asyncio
import threading

lock = threading.Lock()


async def main():
    await asyncio.sleep(0)
    lock.acquire()
    lock.release()
