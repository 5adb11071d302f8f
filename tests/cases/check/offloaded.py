"""Work that is moved off the loop, and what only looks like it."""

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
from asgiref.sync import sync_to_async
from starlette.concurrency import run_in_threadpool

executor = ThreadPoolExecutor()
tasks = queue.Queue()
lock = threading.Lock()


def work():
    time.sleep(1)  # expect UNS101: called_first > work > time.sleep; executor_called_first > work > time.sleep


async def threads():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(work)
    await loop.run_in_executor(None, work)
    await asyncio.get_event_loop().run_in_executor(executor, lambda: time.sleep(1))
    await run_in_threadpool(work)
    await anyio.to_thread.run_sync(work)
    await sync_to_async(work)()
    executor.submit(work)
    threading.Thread(target=work).start()

    def nested():
        time.sleep(1)

    await asyncio.to_thread(nested)


@sync_to_async
def wrapped():
    time.sleep(1)


async def uses_wrapped():
    await wrapped()


async def called_first():
    await asyncio.to_thread(work())


async def executor_called_first():
    await asyncio.get_running_loop().run_in_executor(None, work())


async def harmless():
    tasks.get(block=False)
    tasks.get_nowait()
    lock.acquire(blocking=False)
    time.sleep(0)
    done = asyncio.get_running_loop().create_task(asyncio.sleep(1))
    await done
    done.result()
    async with asyncio.Lock():
        pass
    await asyncio.Queue().get()
    ", ".join(["a"])
    {}.get("a")


async def waits():
    tasks.get()  # expect UNS106: waits > queue.Queue().get


def command_line():
    time.sleep(1)


def on_timer():
    time.sleep(1)  # expect UNS101: on_timer > time.sleep


async def schedules():
    asyncio.get_running_loop().call_later(1, on_timer)
    asyncio.create_task(forever())


async def forever():
    while True:
        time.sleep(1)  # expect UNS101: forever > time.sleep


if __name__ == "__main__":
    command_line()
