# reason: only with --unsafe: `chdir` changes the whole process
import asyncio
import os
import subprocess


def version(folder):
    os.chdir(folder)
    return subprocess.getoutput("git describe")


async def main():
    await asyncio.sleep(0)
    return version("/")
