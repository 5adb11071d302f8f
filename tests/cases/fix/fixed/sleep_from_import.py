import os
from time import sleep, time

from fastapi import FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


@app.get("/")
async def index():
    began = time()
    sleep(0.02)
    return {"late": time() > began, "sep": os.sep}
