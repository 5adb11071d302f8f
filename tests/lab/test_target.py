"""Apps as people name them, found and looked at before anything is started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from unstall.errors import AppNotFound, BadInput
from unstall.lab.target import Target, health_route, inspect, locate, same_app_in

APP = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/healthz")
async def health(): return {}
@app.get("/items/{item_id}")
async def item(item_id: int): return {}
@app.post("/items")
async def add(): return {}
"""


def look(name: str, folder: Path, factory: bool = False) -> Target:
    return asyncio.run(inspect(locate(name, folder), (), factory))


def test_an_app_is_named_by_module_or_by_file(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "api.py").write_text(APP)
    assert locate("shop.api:app", tmp_path) == Target("shop.api:app", tmp_path)
    assert locate("shop/api.py:app", tmp_path) == Target("shop.api:app", tmp_path)
    assert locate("shop/api.py", tmp_path) == Target("shop.api:app", tmp_path)


@pytest.mark.parametrize("name", ["shop", "shop/api:app", ":app", "missing.py:app"])
def test_what_is_no_app_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        locate(name, tmp_path)


def test_the_other_arm_is_an_app_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "fixed").mkdir()
    first = Target("api:app", tmp_path)
    assert same_app_in("fixed", first, tmp_path) == Target("api:app", tmp_path / "fixed")
    assert same_app_in("other:app", first, tmp_path) == Target("other:app", tmp_path)


def test_routes_come_from_the_openapi_document(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text(APP)
    target = look("api:app", tmp_path)
    assert ("GET", "/healthz") in target.routes and ("POST", "/items") in target.routes
    assert target.callable_routes == (("GET", "/healthz"),)
    assert target.has("GET", "/items/7") and not target.has("GET", "/items/7/parts")
    assert health_route(target) == "/healthz"


def test_routes_of_a_starlette_app_come_from_its_table(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Mount, Route\n"
        "async def ok(request): return PlainTextResponse('ok')\n"
        "app = Starlette(routes=[Route('/ping', ok), Mount('/api', routes=[Route('/items', ok, methods=['POST'])])])\n"
    )
    assert set(look("api:app", tmp_path).routes) >= {("GET", "/ping"), ("POST", "/api/items")}


def test_a_wrong_attribute_is_answered_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text(APP)
    with pytest.raises(AppNotFound) as caught:
        look("api:application", tmp_path)
    assert caught.value.hint == "did you mean api:app?"


def test_an_import_error_shows_only_the_frames_of_the_app(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text("import settings\n")
    (tmp_path / "settings.py").write_text("url = {}['DATABASE_URL']\n")
    with pytest.raises(AppNotFound) as caught:
        look("api:app", tmp_path)
    text = str(caught.value)
    assert "KeyError: 'DATABASE_URL'" in text and "settings.py" in text and "api.py" in text
    assert "importlib" not in text and "inspect_app" not in text


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AppNotFound, match="no module 'nowhere'"):
        look("nowhere.api:app", tmp_path)


def test_an_app_that_ends_the_process_at_import_is_told(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text("import os\nprint('bye', flush=True)\nos._exit(3)\n")
    with pytest.raises(AppNotFound, match="ended the process"):
        look("api:app", tmp_path)


def test_what_an_app_prints_at_import_is_not_taken_for_its_routes(tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text("print('{\"routes\": 1}')\n" + APP)
    assert look("api:app", tmp_path).routes


def test_a_route_that_catches_everything_is_no_health_route(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no health route"):
        health_route(Target("api:app", tmp_path, (("GET", "/{rest:path}"),)))


def test_an_app_without_a_health_route_is_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no health route"):
        health_route(Target("api:app", tmp_path, (("GET", "/hello"),)))
