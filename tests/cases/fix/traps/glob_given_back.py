# reason: it gives back `rglob(...)`, which would be read, and block, on the loop
import asyncio
from pathlib import Path


def sources():
    return Path(".").rglob("*.py")


async def main():
    await asyncio.sleep(0)
    return sources()
