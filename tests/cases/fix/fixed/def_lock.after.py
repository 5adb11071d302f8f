import threading
import time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]
lock = threading.Lock()


@app.get("/")
def index():
    with lock:
        time.sleep(0.01)
    return "alone"
