"""What an app serves, looked at by importing it in a process of its own.

That process is ``python -m unstall.probe.served module:attribute`` in the app's folder. It answers with one line of
JSON: the routes, or why the app cannot be imported.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unstall.errors import AppNotFound, BadInput
from unstall.runtime.dialects import spots
from unstall.runtime.routes import pattern_of

IMPORT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """A path that a GET can ask, as a pattern and as its author wrote it. ``thread`` names the ``def`` function that
    needs a thread of the pool before it is answered; empty where none does."""

    pattern: str
    path: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """The routes of one app. What lies below ``mounts`` (static files, another app) is not known."""

    app: str
    routes: tuple[Route, ...]
    mounts: tuple[str, ...] = ()

    def route(self, path: str) -> Route | None:
        """The route that answers a GET of this path, the first that was declared."""
        bare = path.partition("?")[0]
        return next((one for one in self.routes if re.match(one.pattern, bare)), None)

    def may_have(self, path: str) -> bool:
        """Whether it has a route for this path, or something mounted that may have one."""
        below = any(path == mount or path.startswith(mount.rstrip("/") + "/") for mount in self.mounts)
        return below or self.route(path) is not None or self.route(path.rstrip("/") or "/") is not None


def served(name: str, folder: Path) -> Served:
    """Import ``module:app`` in a process of its own and list its routes; ``module:create_app()`` calls a factory.

    Raises:
        AppNotFound: it cannot be imported, or has no routes that can be read.
        BadInput: the name is not one of an app.
    """
    target, folder = _located(name, folder)
    words = [sys.executable, "-m", "unstall.probe.served", target]
    try:
        done = subprocess.run(
            words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AppNotFound(f"--app {name}: importing it took more than {IMPORT_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise AppNotFound(f"--app {name}: {error.strerror}") from None
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise AppNotFound(f"--app {name}: importing it ended the process") from None
    if "error" in answer:
        raise AppNotFound(f"--app {name}: {answer['error']}", answer.get("hint"))
    return Served(name, tuple(Route(*row) for row in answer["routes"]), tuple(answer["mounts"]))


def _located(name: str, folder: Path) -> tuple[str, Path]:
    place, colon, attribute = name.partition(":")
    if not place or (colon and not attribute) or (not colon and os.sep in name):
        raise BadInput(f"--app {name}: that is not an app", "write module:app, as in app.main:app")
    if not place.endswith(".py"):
        return f"{place}:{attribute or 'app'}", folder
    file = (folder / place).resolve()
    if not file.is_file():
        raise BadInput(f"--app {name}: there is no file {place}", "write module:app, as in app.main:app")
    root = file.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return ".".join(file.relative_to(root).with_suffix("").parts) + f":{attribute or 'app'}", root


# --- in the process of its own --------------------------------------------------------------------


def main(target: str) -> dict[str, Any]:
    """Import and look; an app that cannot be imported is an answer too."""
    sys.path.insert(0, "")
    module, _, attribute = target.partition(":")
    try:
        app: Any = importlib.import_module(module)
        for name in attribute.removesuffix("()").split("."):
            app = getattr(app, name)
        app = app() if attribute.endswith("()") else app
        routes = list(_routes(app))
    except BaseException as error:
        first = (str(error).splitlines() or [""])[0]
        return {"error": f"it cannot be imported: {type(error).__name__}: {first}", "hint": _HINT}
    if not routes:
        return {"error": "it has no routes that can be read", "hint": "name a FastAPI, Starlette or other ASGI app"}
    return {"routes": routes, "mounts": list(_mounts(app))}


_HINT = "run it in the app's folder and environment, as with: uv run unstall probe ..."


def _routes(app: Any) -> Iterator[list[str]]:
    pooled = _in_threads(app)
    for spot in spots(app):
        if {"GET", "HEAD"} & set(spot.methods):
            plain = next((one for one in spot.functions if one is not None and _is_plain(one)), None)
            name = getattr(plain, "__qualname__", type(plain).__name__) if plain is not None and pooled else ""
            yield [pattern_of(spot.path), spot.path, name]


def _inside(app: Any) -> Iterator[Any]:
    """An app and what its wrappers hold."""
    for _ in range(20):
        if app is None:
            return
        yield app
        app = None if hasattr(app, "routes") else getattr(app, "app", None)


def _in_threads(app: Any) -> bool:
    """Whether its framework answers a ``def`` endpoint from a pool of threads: FastAPI and Starlette do."""
    modules = {kind.__module__.partition(".")[0] for one in _inside(app) for kind in type(one).__mro__}
    return bool(modules & {"fastapi", "starlette"})


def _mounts(app: Any) -> Iterator[str]:
    for one in _inside(app):
        for route in getattr(one, "routes", None) or ():
            mounted = getattr(route, "app", None)
            if mounted is not None and not hasattr(route, "endpoint") and not getattr(route, "routes", None):
                yield str(getattr(route, "path", ""))


def _is_plain(function: Any) -> bool:
    """Whether calling it needs a thread: it is neither async nor a class that only makes an object."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if inspect.isclass(function):
        return False
    called = getattr(type(function), "__call__", None)  # noqa: B004  an object that is called
    return not any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (function, called))


if __name__ == "__main__":
    answer = sys.stdout
    sys.stdout = sys.stderr  # what the app prints at import is not the answer
    result = main(sys.argv[1])
    answer.write("\n" + json.dumps(result) + "\n")
    answer.flush()
