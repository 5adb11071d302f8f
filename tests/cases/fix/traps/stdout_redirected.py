# reason: `redirect_stdout` changes the whole process
import contextlib
import io
import time


async def main():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        time.sleep(0.1)
    return out
