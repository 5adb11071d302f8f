# reason: reads lazily: in a thread it would return at once and block later
import asyncio
from pathlib import Path


async def main():
    await asyncio.sleep(0)
    found = Path(".").rglob("*.py")
    return [path.name for path in found]
