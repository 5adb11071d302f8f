"""No web framework: asyncio's own threads."""

import asyncio
import subprocess
import sys


async def main() -> str:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", "print(42)"], capture_output=True, text=True
    )
    return done.stdout
