import asyncio
import subprocess
import sys

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

REQUESTS = [("GET", "/")]


class Tool:
    def run(self) -> str:
        return subprocess.check_output([sys.executable, "-c", "print(1)"], text=True)


async def index(request):
    await asyncio.sleep(0)
    return PlainTextResponse(Tool().run( ))


app = Starlette(routes=[Route("/", index)])
