# reason: only with --unsafe: all of it is read, and held in memory
import asyncio
import subprocess


def lines():
    for number in range(3):
        yield subprocess.getoutput(f"echo {number}")


async def main():
    for line in lines():
        await asyncio.sleep(0)
        if line == "1":
            break
