# reason: `next` may end by StopIteration, which cannot leave a thread
import asyncio
import subprocess


def first():
    return next(iter(subprocess.getoutput("true")))


async def main():
    await asyncio.sleep(0)
    return first()
