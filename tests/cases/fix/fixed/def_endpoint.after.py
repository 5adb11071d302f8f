import subprocess
import sys

from fastapi import FastAPI, Response

app = FastAPI()
REQUESTS = [("GET", "/version"), ("GET", "/health")]


@app.get("/version", status_code=203)
def version(response: Response) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
    response.headers["x-answer"] = done.stdout.strip()
    return {"answer": done.stdout.strip()}


@app.get("/health")
async def health():
    return "ok"
