# reason: `signal.signal` works in the main thread only
import asyncio
import signal
import subprocess


def build():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.getoutput("make")


async def main():
    await asyncio.sleep(0)
    return build()
