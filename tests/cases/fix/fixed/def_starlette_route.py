import subprocess
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

REQUESTS = [("GET", "/?n=3"), ("DELETE", "/")]


async def index(request: Request) -> PlainTextResponse:
    code = f"print({request.query_params['n']} * 2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return PlainTextResponse(done.stdout, status_code=202)


app = Starlette(routes=[Route("/", index)])
