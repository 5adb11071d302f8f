"""Runs the apps of tests/cases/fix in this process, and sees what blocks the loop's own thread."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "cases" / "fix"
FIXED = sorted(p for p in (CASES / "fixed").glob("*.py") if not p.name.endswith(".after.py"))
TRAPS = sorted((CASES / "traps").glob("*.py"))

# What CPython announces before it blocks. A rewrite is right when these still happen, but in another thread.
EVENTS = frozenset({"subprocess.Popen", "sqlite3.connect", "shutil.copyfile", "shutil.rmtree", "open", "os.remove"})
_watched: list[tuple[int, list[str]]] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watched and event in EVENTS and threading.get_ident() == _watched[-1][0]:
        if event == "open" and not str(args[0]).startswith(("/dev/null", "/tmp/unstall-case")):
            return
        _watched[-1][1].append(event)


sys.addaudithook(_hook)
_sleep = time.sleep


def _noticed(duration_s: float) -> None:
    """``time.sleep``, which announces nothing before CPython 3.13."""
    if _watched and threading.get_ident() == _watched[-1][0]:
        _watched[-1][1].append("time.sleep")
    _sleep(duration_s)


@contextmanager
def on_this_thread() -> Iterator[list[str]]:
    """Collects what blocks the current thread, by its audit events."""
    seen: list[str] = []
    _watched.append((threading.get_ident(), seen))
    try:
        yield seen
    finally:
        _watched.pop()


Answer = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]


def load(path: Path) -> types.ModuleType:
    """The module in a file, under a name nobody else uses."""
    module = types.ModuleType("case_" + path.name.replace(".", "_"))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def answers(path: Path) -> tuple[list[Any], list[str]]:
    """What an app answers to its own REQUESTS (or what its ``main`` returns), and what blocked the loop's thread."""
    time.sleep = _noticed
    try:
        return _answers(load(path))
    finally:
        time.sleep = _sleep


def _answers(module: Any) -> tuple[list[Any], list[str]]:
    async def replay() -> tuple[list[Any], list[str]]:
        found: list[Any] = []
        with on_this_thread() as seen:
            if not hasattr(module, "REQUESTS"):
                found.append(await module.main())
            else:
                for method, url in module.REQUESTS:
                    found.append(await _ask(module.app, method, url))
        return found, seen

    return asyncio.run(replay())


async def _ask(app: Any, method: str, url: str) -> Answer:
    path, _, query = url.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(m.get("body", b"") for m in sent)
    return sent[0]["status"], tuple((k, v) for k, v in sent[0]["headers"] if k != b"date"), body
