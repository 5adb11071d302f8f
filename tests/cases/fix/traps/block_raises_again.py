# reason: its `with` block raises again what the coroutine caught
import os


async def main():
    try:
        raise KeyError(1)
    except KeyError:
        with open(os.devnull) as file:
            file.read()
            raise
