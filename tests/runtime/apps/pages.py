"""An application that is not ASGI: `python -m pages PORT`."""

from __future__ import annotations

import sys
import time

from aiohttp import web


async def health(request: web.Request) -> web.Response:
    return web.Response()


async def stalls(request: web.Request) -> web.Response:
    time.sleep(0.3)  # STALLS: aiohttp
    return web.Response()


app = web.Application()
app.router.add_get("/health", health)
app.router.add_get("/stalls/{name}", stalls)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
