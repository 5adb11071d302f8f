"""No web framework: asyncio's own threads."""

import subprocess
import sys


async def main() -> str:
    done = subprocess.run([sys.executable, "-c", "print(42)"], capture_output=True, text=True)
    return done.stdout
