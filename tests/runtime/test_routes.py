"""Routes as their authors wrote them, whatever framework they were written for."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Mount, Route

from unstall.runtime.dialects import spots
from unstall.runtime.homes import own_files
from unstall.runtime.naming import route_of
from unstall.runtime.routes import RouteTable, pattern_of, rows_of


async def serve() -> Any: ...


class CheckToken:
    def __init__(self, realm: str) -> None:
        self.realm = realm

    def __call__(self) -> None: ...


def labels(app: Any) -> set[str]:
    return {row[4] for row in rows_of(app)}


def table(app: Any) -> RouteTable:
    made = RouteTable()
    made.load(rows_of(app))
    return made


def fastapi_app() -> FastAPI:
    inner, outer, app, below = APIRouter(), APIRouter(prefix="/api"), FastAPI(), FastAPI()
    inner.get("/items/{item_id}")(serve)
    inner.websocket("/live/{room}")(_websocket)
    outer.include_router(inner, prefix="/v1", dependencies=[Depends(CheckToken("a"))])
    below.get("/reports/{name:path}")(serve)
    app.include_router(outer)
    app.mount("/admin", below)
    return app


async def _page(request: web.Request) -> web.StreamResponse:
    return web.Response()


async def _websocket(socket: WebSocket) -> None: ...


def test_routers_included_in_routers_have_both_prefixes() -> None:
    app = fastapi_app()
    assert {"GET /api/v1/items/{item_id}", "WEBSOCKET /api/v1/live/{room}", "GET /admin/reports/{name:path}"} <= labels(
        app
    )
    known = table(app)
    assert known.label("GET /api/v1/items/7") == "GET /api/v1/items/{item_id}"
    assert known.label("GET /admin/reports/2024/may") == "GET /admin/reports/{name:path}"
    assert known.label("POST /api/v1/items/7") == "POST /api/v1/items/7"


def test_a_dependency_of_an_inclusion_leads_to_the_route() -> None:
    line = CheckToken.__call__.__code__.co_firstlineno
    stack = ((__file__, line, "__call__", True),)
    assert table(fastapi_app()).find(stack, ["GET /api/v1/items/7"]) == ("GET /api/v1/items/{item_id}", "table")


def test_a_request_is_named_by_the_inclusion_that_routed_it() -> None:
    app = FastAPI()
    inner, outer = APIRouter(), APIRouter(prefix="/api")
    inner.get("/items/{item_id}")(serve)
    outer.include_router(inner, prefix="/v1")
    app.include_router(outer)
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/api/v1/items/3", "root_path": "", "headers": [], "query_string": b"",
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None: ...

    asyncio.run(app(scope, receive, send))
    assert route_of(scope) == "GET /api/v1/items/{item_id}"


def test_endpoints_that_are_classes_are_known_by_their_methods() -> None:
    class Page(HTTPEndpoint):
        async def get(self, request: Any) -> None: ...
        async def post(self, request: Any) -> None: ...

    app = Starlette(routes=[Mount("/m", routes=[Route("/p/{n:int}", Page)])])
    assert labels(app) == {"GET /m/p/{n:int}", "POST /m/p/{n:int}"}
    line = Page.post.__code__.co_firstlineno
    stack = ((__file__, line, "post", True),)
    assert table(app).find(stack, ["POST /m/p/4"]) == ("POST /m/p/{n:int}", "table")


def test_aiohttp_names_its_resources() -> None:
    below, app = web.Application(), web.Application()
    below.router.add_get("/users/{name}", _page)
    app.router.add_post(r"/items/{n:\d{1,3}}", _page)
    app.add_subapp("/admin", below)
    assert {"GET /admin/users/{name}", "POST /items/{n}"} <= labels(app)
    assert table(app).label("GET /admin/users/ada") == "GET /admin/users/{name}"


def framework(module: str, name: str, **attributes: Any) -> Any:
    """An instance of a class with that name from that module, as the real framework's would be."""
    kind = type(name, (), {"__module__": module})
    app = kind()
    for key, value in attributes.items():
        setattr(app, key, value)
    return app


def django_app() -> Any:
    def entry(route: str, **more: Any) -> Any:
        return types.SimpleNamespace(pattern=types.SimpleNamespace(_route=route), **more)

    inner = [entry("<int:pk>/", callback=serve)]
    regex = types.SimpleNamespace(pattern=types.SimpleNamespace(_regex="^x"), callback=serve)
    urls = types.ModuleType("django.urls")
    urls.get_resolver = lambda: types.SimpleNamespace(  # type: ignore[attr-defined]
        url_patterns=[regex, entry("orders/", url_patterns=inner)]
    )
    sys.modules["django.urls"] = urls
    return framework("django.core.handlers.asgi", "ASGIHandler")


def litestar_app() -> Any:
    handler = types.SimpleNamespace(http_methods={"GET"}, fn=serve)
    route = types.SimpleNamespace(path_format="/orders/{pk}", route_handlers=[handler])
    return framework("litestar.app", "Litestar", routes=[route])


def quart_app() -> Any:
    rule = types.SimpleNamespace(rule="/orders/<int:pk>", methods={"GET", "HEAD", "OPTIONS"}, endpoint="a")
    rules = types.SimpleNamespace(iter_rules=lambda: [rule])
    return framework("quart.app", "Quart", url_map=rules, view_functions={"a": serve})


@pytest.mark.parametrize(
    ("make", "asked", "named"),
    [
        (django_app, "GET /orders/7/", "GET /orders/<int:pk>/"),
        (litestar_app, "GET /orders/7", "GET /orders/{pk}"),
        (quart_app, "GET /orders/7", "GET /orders/<int:pk>"),
    ],
)
def test_other_frameworks_are_named_in_their_own_notation(
    make: Callable[[], Any], asked: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "django.urls", types.ModuleType("django.urls"))
    known = table(make())
    assert known.label(asked) == named
    stack = ((__file__, serve.__code__.co_firstlineno, "serve", True),)
    assert known.find(stack, [asked]) == (named, "table")
    assert known.name(named) == named


def test_an_app_inside_wrappers_is_found_and_an_unknown_one_has_no_routes() -> None:
    app = Starlette(routes=[Route("/a", serve)])
    wrapped = types.SimpleNamespace(app=types.SimpleNamespace(app=app))
    assert [spot.path for spot in spots(wrapped)] == ["/a"]
    assert rows_of(object()) == []


def test_routes_that_break_when_read_leave_those_before_them() -> None:
    class Broken:
        @property
        def path(self) -> str:
            raise RuntimeError

    app = types.SimpleNamespace(routes=[Route("/a", serve), Broken()])
    assert labels(app) == {"GET /a"}


@pytest.mark.parametrize(
    ("path", "matches", "not_"),
    [
        ("/a/{b}", "/a/7", "/a/7/8"),
        ("/a/{b:path}", "/a/7/8", "/b"),
        ("/a/{b:int}.json", "/a/7.json", "/a/x.json"),
        ("/a/<b>/<float:c>", "/a/x/1.5", "/a/x/y"),
        ("/a/<string(length=2):b>", "/a/xy", "/a/"),
        ("/a.b+c", "/a.b+c", "/axb+c"),
    ],
)
def test_a_path_matches_what_it_stands_for(path: str, matches: str, not_: str) -> None:
    assert re.match(pattern_of(path), matches)
    assert not re.match(pattern_of(path), not_)


def test_a_librarys_endpoints_do_not_make_the_library_the_apps_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def endpoint(module: str, folder: str) -> Any:
        home = types.ModuleType(module)
        home.__path__ = [folder]
        monkeypatch.setitem(sys.modules, module, home)
        made = lambda: None  # noqa: E731
        made.__module__ = module
        return types.SimpleNamespace(path="/" + module, endpoint=made)

    library = endpoint("login_pages", "/venv/lib/python3.12/site-packages/login_pages")
    mine = endpoint("shop", "/opt/elsewhere/shop")
    shipped = endpoint("shipped", "/venv/lib/python3.12/site-packages/shipped")
    both = own_files(types.SimpleNamespace(routes=[library, mine]))
    assert "/opt/elsewhere/shop/pay.py" in both
    assert "/venv/lib/python3.12/site-packages/login_pages/a.py" not in both
    installed = own_files(types.SimpleNamespace(routes=[library, shipped, shipped]))
    assert "/venv/lib/python3.12/site-packages/shipped/a.py" in installed
    assert "/venv/lib/python3.12/site-packages/login_pages/a.py" not in installed
