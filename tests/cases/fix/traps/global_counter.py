# reason: only with --unsafe: `hits` is a global that two requests could now change at the same time
import subprocess

from fastapi import FastAPI

app = FastAPI()
hits = 0


@app.get("/")
async def index():
    global hits
    before = hits
    word = subprocess.getoutput("echo a")
    hits = before + 1
    return word, hits
