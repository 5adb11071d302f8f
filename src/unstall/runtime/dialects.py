"""The routes of an app in the words of its framework: Starlette, FastAPI, Litestar, Quart, Django, aiohttp."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

DEPTH = 8


class Spot(NamedTuple):
    """One route: the words for its methods, the path as its author wrote it, the functions that serve it."""

    methods: tuple[str, ...]
    path: str
    functions: tuple[Any, ...]


_ANY = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def spots(app: Any) -> Iterator[Spot]:
    """All routes of an app that are known without asking it; wrappers with an ``app`` inside are looked into."""
    for _ in range(20):
        for speaks, tell in _DIALECTS:
            if speaks(app):
                yield from tell(app)
                return
        app = getattr(app, "app", None)
        if app is None:
            return


def starlette(routes: Any, prefix: str = "", shared: tuple[Any, ...] = (), depth: int = 0) -> Iterator[Spot]:
    """Starlette's and FastAPI's routes, mounted and included ones too; ``shared`` are dependencies of all of them."""
    for route in list(routes or ()) if depth < DEPTH else ():
        router = getattr(route, "original_router", None)
        if router is not None:  # FastAPI keeps an included router as it is, with what the inclusion adds beside it
            added = getattr(route, "include_context", None)
            calls = tuple(getattr(d, "dependency", None) for d in getattr(added, "dependencies", None) or ())
            below = prefix + str(getattr(added, "prefix", ""))
            yield from starlette(getattr(router, "routes", None), below, (*shared, *calls), depth + 1)
            continue
        path = prefix + str(getattr(route, "path", ""))
        inner = getattr(route, "routes", None)
        if inner:
            yield from starlette(inner, path, shared, depth + 1)
            continue
        endpoint = getattr(route, "endpoint", None)
        if endpoint is None:
            continue
        methods = getattr(route, "methods", None)
        names = sorted(methods - {"HEAD"} or methods) if methods else None
        dependencies = (*shared, *_dependencies(getattr(route, "dependant", None), 0))
        if isinstance(endpoint, type):
            yield from _class_based(endpoint, names, path, dependencies)
        else:
            yield Spot(tuple(names or ("WEBSOCKET",)), path, (endpoint, *dependencies))


def _class_based(endpoint: type, names: list[str] | None, path: str, dependencies: tuple[Any, ...]) -> Iterator[Spot]:
    """`HTTPEndpoint` and `WebSocketEndpoint`: one method of the class for each of HTTP's."""
    served = [name for name in names or _ANY if hasattr(endpoint, name.lower())]
    for name in served:
        yield Spot((name,), path, (getattr(endpoint, name.lower()), *dependencies))
    if not served:
        handlers = [getattr(endpoint, name, None) for name in ("on_connect", "on_receive", "on_disconnect")]
        yield Spot(("WEBSOCKET",), path, (*handlers, *dependencies))


def _dependencies(dependant: Any, depth: int) -> Iterable[Any]:
    for below in getattr(dependant, "dependencies", ()) if depth < 20 else ():
        yield below.call
        yield from _dependencies(below, depth + 1)


def litestar(app: Any) -> Iterator[Spot]:
    """Litestar's: the path without the types of its parameters, as its scope has it."""
    for route in list(app.routes):
        handlers = getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]
        for handler in handlers:
            methods = tuple(sorted(str(getattr(m, "value", m)) for m in getattr(handler, "http_methods", ())))
            yield Spot(methods or ("WEBSOCKET",), str(route.path_format), (getattr(handler, "fn", None),))


def quart(app: Any) -> Iterator[Spot]:
    """Quart's, in Flask's notation."""
    for rule in app.url_map.iter_rules():
        methods = tuple(sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"}))
        yield Spot(methods or ("WEBSOCKET",), rule.rule, (app.view_functions.get(rule.endpoint),))


def django(app: Any) -> Iterator[Spot]:
    """Django's, of its root URL configuration; those written as regular expressions are left out."""
    yield from _django(sys.modules["django.urls"].get_resolver().url_patterns, "/", 0)


def _django(patterns: Any, prefix: str, depth: int) -> Iterator[Spot]:
    for entry in patterns if depth < DEPTH else ():
        route = getattr(entry.pattern, "_route", None)
        if not isinstance(route, str):
            continue
        if hasattr(entry, "url_patterns"):
            yield from _django(entry.url_patterns, prefix + route, depth + 1)
        else:
            view = entry.callback
            kind = getattr(view, "view_class", None)
            functions = [getattr(kind, name.lower(), None) for name in _ANY] if kind is not None else [view]
            yield Spot(_ANY, prefix + route, tuple(functions))


def aiohttp(app: Any) -> Iterator[Spot]:
    """aiohttp's; those of sub-applications are among them."""
    for route in app.router.routes():
        resource = getattr(route, "resource", None)
        if resource is not None:
            methods = _ANY if route.method == "*" else (str(route.method),)
            yield Spot(methods, str(resource.canonical), (route.handler,))


def _is(module: str, name: str) -> Callable[[Any], bool]:
    """True of instances of that class and of its children, without importing anything."""

    def speaks(app: Any) -> bool:
        kinds = type(app).__mro__
        return any(k.__name__ == name and k.__module__.partition(".")[0] == module for k in kinds)

    return speaks


_DIALECTS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Iterator[Spot]]], ...] = (
    (_is("litestar", "Litestar"), litestar),
    (_is("quart", "Quart"), quart),
    (_is("django", "ASGIHandler"), django),
    (_is("aiohttp", "Application"), aiohttp),
    (lambda app: hasattr(app, "routes"), lambda app: starlette(app.routes)),
)
