# reason: the lock `self.lock` is held across it
import threading
import time


class Gate:
    def __init__(self):
        self.lock = threading.RLock()

    async def enter(self):
        if not self.lock.acquire(blocking=False):
            return
        try:
            time.sleep(0.01)
        finally:
            self.lock.release()
