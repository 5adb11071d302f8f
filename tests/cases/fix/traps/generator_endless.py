# reason: the generator never ends
import time


def ticks():
    while True:
        time.sleep(0.1)
        yield time.time()


async def main():
    for tick in ticks():
        if tick:
            break
