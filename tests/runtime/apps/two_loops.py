"""Two servers in one process, each on a loop of its own thread: `python -m two_loops PORT OTHER_PORT`."""

from __future__ import annotations

import sys
import threading

import uvicorn
from stalling import app

if __name__ == "__main__":
    servers = [uvicorn.Server(uvicorn.Config(app, port=int(port), log_level="warning")) for port in sys.argv[1:]]
    for server in servers[1:]:
        threading.Thread(target=server.run, daemon=True).start()
    servers[0].run()
