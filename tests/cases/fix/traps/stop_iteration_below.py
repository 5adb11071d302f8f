# reason: it raises StopIteration, which cannot leave a thread
import asyncio
import subprocess


def one():
    subprocess.getoutput("true")
    raise StopIteration


async def main():
    await asyncio.sleep(0)
    return one()
