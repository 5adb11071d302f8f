# reason: behind a property
import asyncio
import subprocess


class Host:
    @property
    def name(self):
        return subprocess.getoutput("echo a")


async def main():
    await asyncio.sleep(0)
    return Host().name
