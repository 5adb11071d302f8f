"""How each server and framework is made to watch what it serves, once its module is imported."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


def wrapped(app: Any) -> Any:
    """The app watched, or as it is where that fails, which is said."""
    try:
        from unstall.runtime import asgi, watch

        inside = _watched_inside(app)
        if inside is not None:  # it keeps what was chosen for it there
            asgi._here.last_app = inside
            return app
        watched = asgi._here.last_app = watch(app)
        return watched
    except Exception as error:
        sys.stderr.write(f"unstall: not watching: {error}\n")
        return app


def _watched_inside(app: Any) -> Any:
    """What the app's author has wrapped by `watch`, within what the server itself put around it."""
    from unstall.runtime.asgi import Watched

    for _ in range(10):
        if app is None or isinstance(app, Watched):
            return app
        app = getattr(app, "__dict__", {}).get("app")
    return None


def patch_uvicorn(module: ModuleType) -> None:
    """`uvicorn.config`: the app a server serves is what `load` leaves in ``loaded_app``."""
    config = module.Config
    load = config.load

    @functools.wraps(load)
    def load_watched(self: Any) -> None:
        load(self)
        if isinstance(self.workers, int) and self.workers > 1:
            os.environ.setdefault("UNSTALL_WORKERS", str(self.workers))
        self.loaded_app = wrapped(self.loaded_app)

    config.load = load_watched


def patch_gunicorn(module: ModuleType) -> None:
    """`gunicorn.workers.base`: a worker knows which one it is, the process it runs in does not."""
    worker = module.Worker
    start = worker.init_process

    @functools.wraps(start)
    def start_watched(self: Any) -> None:
        os.environ["UNSTALL_WORKER"] = str(self.age)
        start(self)

    worker.init_process = start_watched


def patch_hypercorn(module: ModuleType) -> None:
    """`hypercorn.utils`: what it serves, from a command line or from a program, goes through ``wrap_app``."""
    wrap = module.wrap_app

    @functools.wraps(wrap)
    def wrap_watched(*args: Any, **kwargs: Any) -> Any:
        made = wrap(*args, **kwargs)
        # What it returns is called by hypercorn's own rules; the app is inside. A WSGI app runs in threads.
        if type(made).__name__ == "ASGIWrapper":
            made.app = wrapped(made.app)
        return made

    module.wrap_app = wrap_watched  # type: ignore[attr-defined]


def patch_granian(module: ModuleType) -> None:
    """`granian.asgi`: the app goes into two callables, one for requests and one for its start and end."""
    wrap, begin = module._callback_wrapper, module.LifespanProtocol.__init__

    @functools.wraps(wrap)
    def wrap_watched(callback: Any, *args: Any, **kwargs: Any) -> Any:
        return wrap(wrapped(callback), *args, **kwargs)

    @functools.wraps(begin)
    def begin_watched(self: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, wrapped(callback), *args, **kwargs)

    module._callback_wrapper = wrap_watched  # type: ignore[attr-defined]
    module.LifespanProtocol.__init__ = begin_watched


def patch_daphne(module: ModuleType) -> None:
    """`daphne.server`: the server is given its app when it is made."""
    server = module.Server
    begin = server.__init__

    @functools.wraps(begin)
    def begin_watched(self: Any, application: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, wrapped(application), *args, **kwargs)

    server.__init__ = begin_watched


def patch_aiohttp(module: ModuleType) -> None:
    """`aiohttp.web_app`: an application that is not ASGI, but hands every request to one coroutine of its own."""
    kind = module.Application
    handle, startup = kind._handle, kind.startup

    @functools.wraps(handle)
    async def handle_watched(self: Any, request: Any) -> Any:
        return await _serve(self, request, functools.partial(handle, self, request))

    @functools.wraps(startup)
    async def startup_watched(self: Any) -> None:
        _tell_serving(_watched_by(self), ready=False)
        await startup(self)

    kind._handle, kind.startup = handle_watched, startup_watched


def patch_sanic(module: ModuleType) -> None:
    """`sanic.server.protocols.http_protocol`: each connection keeps the coroutine its requests are handed to."""
    kind = module.HttpProtocol
    begin = kind.__init__

    @functools.wraps(begin)
    def begin_watched(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        handle, app = self.request_handler, self.app

        async def handle_watched(request: Any) -> Any:
            return await _serve(app, request, functools.partial(handle, request))

        self.request_handler = handle_watched

    kind.__init__ = begin_watched


_made: dict[int, Any] = {}


def _watched_by(app: Any) -> Any:
    """The watched stand-in for an application that is not ASGI: its first argument is a scope, its second the call."""
    found = _made.get(id(app))
    if found is None:

        async def answer(scope: Any, call: Any, _: Any) -> None:
            scope["unstall.answer"] = await call()

        answer.app = app  # type: ignore[attr-defined]
        found = _made[id(app)] = wrapped(answer)
    return found


async def _serve(app: Any, request: Any, call: Callable[[], Any]) -> Any:
    """Answer one request of an application that is not ASGI, through the wrapper."""
    scope = {"type": "http", "method": str(request.method), "path": str(request.path)}
    await _watched_by(app)(scope, call, None)
    return scope["unstall.answer"]


def patch_loops(module: ModuleType) -> None:
    """`asyncio.base_events` and `uvloop`: a loop that opens a server serves, whatever runs on it."""
    kind = getattr(module, "BaseEventLoop", None) or module.Loop
    for name in ("create_server", "create_unix_server"):
        create = getattr(kind, name, None)
        if create is not None:
            setattr(kind, name, _announced(create))


def _announced(create: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(create)
    async def create_announced(*args: Any, **kwargs: Any) -> Any:
        made = await create(*args, **kwargs)
        _tell_serving(None)
        return made

    return create_announced


def _tell_serving(app: Any, ready: bool = True) -> None:
    try:
        from unstall.runtime.asgi import serves

        serves(app, ready)
    except Exception as error:
        sys.stderr.write(f"unstall: not watching: {error}\n")


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "uvicorn.config": patch_uvicorn,
    "gunicorn.workers.base": patch_gunicorn,
    "hypercorn.utils": patch_hypercorn,
    "granian.asgi": patch_granian,
    "daphne.server": patch_daphne,
    "aiohttp.web_app": patch_aiohttp,
    "sanic.server.protocols.http_protocol": patch_sanic,
    "asyncio.base_events": patch_loops,
    "uvloop": patch_loops,
}
