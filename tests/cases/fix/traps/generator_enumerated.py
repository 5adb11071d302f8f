# reason: `enumerate` reads lazily
import subprocess


def lines():
    for number in range(3):
        yield subprocess.getoutput(f"echo {number}")


async def main():
    return [line for _, line in enumerate(lines())]
