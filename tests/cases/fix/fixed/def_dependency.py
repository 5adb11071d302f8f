import subprocess
import sys

from fastapi import Depends, FastAPI

app = FastAPI()
REQUESTS = [("GET", "/")]


async def answer() -> int:
    done = subprocess.run([sys.executable, "-c", "print(42)"], capture_output=True, check=True)
    return int(done.stdout)


@app.get("/")
async def index(number: int = Depends(answer)):
    return {"number": number}
