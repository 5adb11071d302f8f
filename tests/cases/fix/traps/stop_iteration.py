# reason: `next` ends by StopIteration
import subprocess


def lines():
    yield subprocess.getoutput("echo a")


async def main():
    return next(lines())
