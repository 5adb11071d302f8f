# reason: it walks lazily, and what the loop does to the folders it gets decides where it goes next
import asyncio
import os


async def main():
    await asyncio.sleep(0)
    names = []
    for folder, folders, files in os.walk("."):
        folders[:] = [each for each in folders if each != ".git"]
        names += files
    return names
