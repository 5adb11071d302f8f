# reason: `local` is a thread-local
import asyncio
import subprocess
import threading

local = threading.local()


def load():
    local.word = subprocess.getoutput("echo a")


async def main():
    await asyncio.sleep(0)
    load()
    return local.word
