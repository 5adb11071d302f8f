"""What is short or over before it could wait: flat globs, pools that were awaited; tasks of a queue."""

import asyncio
import glob
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import celery
import requests

app = celery.Celery("app")


async def lists_one_folder(folder: Path):
    return [*glob.glob(f"{folder}/*.json"), *folder.glob("*.py"), *glob.iglob("*.py")]


async def walks_a_tree(folder: Path):
    found = glob.glob(f"{folder}/**/*.json", recursive=True)  # expect UNS104: walks_a_tree > glob.glob
    found += folder.glob("**/*.py")  # expect UNS104: walks_a_tree > pathlib.Path().glob
    return [*found, *folder.rglob("*.py")]  # expect UNS104: walks_a_tree > pathlib.Path().rglob


def fetch(url):
    return requests.get(url)


async def awaits_all(urls):
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor() as pool:
        return await asyncio.gather(*[loop.run_in_executor(pool, fetch, url) for url in urls])


async def waits_on_leaving(urls):
    with ThreadPoolExecutor() as pool:  # expect UNS106: waits_on_leaving > concurrent.futures.ThreadPoolExecutor()
        for url in urls:
            pool.submit(fetch, url)


@app.task
def resize(name):
    fetch(name)


@celery.shared_task(bind=True)
def crop(self, name):
    fetch(name)


async def queues_work():
    resize.delay("a")  # expect UNS109: queues_work > celery.Task().delay
    crop.apply_async(("a",))  # expect UNS109: queues_work > celery.Task().apply_async
    await asyncio.to_thread(resize.delay, "a")
    resize.s("a")
