# reason: only with --unsafe: all of it is read, and held in memory, before the first turn of the loop
import asyncio
from pathlib import Path


async def main():
    for path in Path(".").rglob("*.py"):
        await asyncio.sleep(0)
        if path.name == "app.py":
            break
