"""What an app serves, seen from outside: routes, mounts, and who needs a thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from unstall.errors import AppNotFound, BadInput
from unstall.probe.served import Served, served

APP = """\
import functools
from fastapi import APIRouter, Depends, FastAPI
from starlette.staticfiles import StaticFiles

print("hello from the import")
app = FastAPI()
api = APIRouter(prefix="/api")


def session():
    return 1


async def user():
    return 1


class Settings:
    pass


@app.get("/health")
async def health(s: Settings = Depends(Settings), u=Depends(user)):
    return {}


@app.get("/ready")
async def ready(db=Depends(session)):
    return {}


@app.get("/plain", include_in_schema=False)
def plain():
    return {}


@app.post("/only-post")
async def only_post():
    return {}


@api.get("/{item}/live", include_in_schema=False)
def live(item: str):
    return {}


app.include_router(api)
app.add_api_route("/partial", functools.partial(session))
app.mount("/static", StaticFiles(directory="."))


class Wrapped:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


wrapped = Wrapped(app)


def build():
    return wrapped
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with an app in it."""
    found = tmp_path_factory.mktemp("served")
    (found / "shop").mkdir()
    (found / "shop" / "__init__.py").touch()
    (found / "shop" / "main.py").write_text(APP, encoding="utf-8")
    (found / "broken.py").write_text("raise RuntimeError('no database')\n", encoding="utf-8")
    (found / "leaves.py").write_text("import os\nos._exit(0)\n", encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def shop(folder: Path) -> Served:
    """The app, behind a wrapper that a factory makes, named by its file."""
    return served("shop/main.py:build()", folder)


@pytest.mark.parametrize(
    "path", ["/health", "/health/", "/static/a.txt", "/docs", "/api/7/live", "/plain?x=1", "/static"]
)
def test_what_it_has_or_may_have(shop: Served, path: str) -> None:
    assert shop.may_have(path)


@pytest.mark.parametrize("path", ["/nosuch", "/only-post", "/api/7", "/healthz", "/statics"])
def test_what_it_does_not_have(shop: Served, path: str) -> None:
    assert not shop.may_have(path)


@pytest.mark.parametrize(
    ("path", "function"),
    [("/health", ""), ("/ready", "session"), ("/plain", "plain"), ("/api/7/live", "live"), ("/docs", "")],
)
def test_which_function_needs_a_thread(shop: Served, path: str, function: str) -> None:
    found = shop.route(path)
    assert found is not None
    assert found.thread == function


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken:app", "it cannot be imported: RuntimeError: no database"),
        ("nosuch:app", "it cannot be imported: ModuleNotFoundError"),
        ("broken", "no database"),
        ("leaves:app", "importing it ended the process"),
        ("json:dumps", "no routes that can be read"),
    ],
)
def test_an_app_that_cannot_be_looked_at_is_one_sentence(folder: Path, name: str, told: str) -> None:
    with pytest.raises(AppNotFound, match=told):
        served(name, folder)


@pytest.mark.parametrize("name", [":", "a:", "nosuch.py:app", "a/b"])
def test_a_name_of_no_app_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(BadInput, match="--app"):
        served(name, folder)
