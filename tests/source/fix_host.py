"""Serves apps of tests/cases/fix side by side, each below its own name, with every blocking call made long."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

HOLD_S = float(os.environ["FIX_HOST_HOLD_S"])
FOLDER = os.environ["FIX_HOST_FOLDER"]
CASE_FOLDER = "/tmp/unstall-case"
# What CPython announces before it blocks; the announcement itself is made to last, in whichever thread it is made.
EVENTS = frozenset({"subprocess.Popen", "sqlite3.connect", "shutil.copyfile", "shutil.rmtree", "open", "os.remove"})
_sleep, _Lock = time.sleep, threading.Lock


def _hold(event: str, args: tuple[Any, ...]) -> None:
    if event in EVENTS and (event != "open" or str(args[0]).startswith((os.devnull, FOLDER))):
        _sleep(HOLD_S)


def _long_sleep(duration_s: float) -> None:
    _sleep(max(duration_s, HOLD_S))


class _LongLock:
    """A lock that somebody else always holds for a while."""

    def __init__(self) -> None:
        self._lock = _Lock()

    def __enter__(self) -> bool:
        _sleep(HOLD_S)
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.release()


def _load(name: str, path: str) -> Any:
    module = types.ModuleType(f"case_{name}")
    module.__file__ = path
    # Kept, unlike in fix_cases: what these modules define is looked up by name when requests come.
    sys.modules[module.__name__] = module
    source = Path(path).read_bytes().replace(CASE_FOLDER.encode(), f"{FOLDER}/case".encode())
    threading.Lock = _LongLock  # type: ignore[assignment,misc]
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    finally:
        threading.Lock = _Lock  # type: ignore[misc]
    return getattr(module, "app", None) or _main_as_app(module.main)


def _main_as_app(main: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps(await main()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


async def _blocked(scope: Any, receive: Any, send: Any) -> None:
    """Stalls for certain: when its stall is on record, so are all earlier ones."""
    _sleep(HOLD_S)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


time.sleep = _long_sleep  # before the apps are loaded: some of them take the name itself
_apps = {name: _load(name, path) for name, path in json.loads(os.environ["FIX_HOST_FILES"]).items()}
_apps["blocked"] = _blocked
sys.addaudithook(_hold)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Send a request to the app that its path begins with; that app sees the rest only."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    _, name, rest = scope["path"].split("/", 2)
    await _apps[name](scope | {"path": "/" + rest, "raw_path": f"/{rest}".encode()}, receive, send)
