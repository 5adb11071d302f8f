# reason: only with --unsafe: `hits` is a global that two requests could now change at the same time
import time

hits = 0


async def main():
    global hits
    before = hits
    time.sleep(0.1)
    hits = before + 1
