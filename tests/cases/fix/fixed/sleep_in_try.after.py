import asyncio

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

REQUESTS = [("GET", "/"), ("POST", "/")]


async def index(request):
    tries = 0
    while True:
        try:
            tries += 1
            if tries < 3:
                raise OSError("not yet")
            break
        except OSError:
            await asyncio.sleep(0.01); continue
    return JSONResponse({"tries": tries}, headers={"x-tries": str(tries)})


app = Starlette(routes=[Route("/", index)])
