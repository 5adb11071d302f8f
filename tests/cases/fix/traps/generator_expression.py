# reason: in a generator expression
import asyncio
import subprocess


async def main():
    await asyncio.sleep(0)
    return max(subprocess.getoutput(word) for word in ("true", "false"))
