"""Runs after an edit: only what the edit reaches is linked again, and what is found is what a fresh run finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unstall.source import check as module
from unstall.source import store
from unstall.source.check import CheckReport, Options, check
from unstall.source.store import CACHE_DIR

HELPERS = """import time


class Base:
    def __init__(self, client):
        self.client = client

    def run(self):
        return self.client.get("/")


class Cheap:
    def get(self, path):
        return path


class Costly:
    def get(self, path):
        time.sleep(1)
        return path


def shared(text, wait=None):
    stripped = text.strip()

    def inner():
        return stripped

    return inner()


def made():
    return Cheap()


def called(client):
    return client.get("/")


def quiet():
    with open("f") as file:
        return file.read()


registry = {}
default = Cheap()
"""
APP = """import helpers
from helpers import default, made, shared
from service import Service


async def first(text):
    return shared(text)


async def second():
    return made().get("/")


async def third():
    return Service().run()


async def fourth():
    return default.get("/")


async def fifth(text):
    return helpers.quiet(), helpers.called(text)


async def sixth():
    for one in helpers.registry.values():
        one.get("/")


async def seventh():
    helpers.late()
"""
SERVICE = """import helpers


class Service(helpers.Base):
    def __init__(self):
        super().__init__(helpers.Cheap())


def start():
    return helpers.called(helpers.Cheap())
"""
FILES = {"helpers.py": HELPERS, "app.py": APP, "service.py": SERVICE}

INSIDE = {
    "a blocking call in a helper": ("helpers.py", "    stripped = text.strip()", "    time.sleep(1)\n    stripped = 1"),
    "lines before all others": ("helpers.py", "import time\n", "# one\n\n\nimport time\n"),
    "a new import and a call of it": (
        "helpers.py",
        "    stripped = text.strip()",
        "    import requests\n\n    requests.get(text)\n    stripped = text.strip()",
    ),
    "another result of the same kind": ("helpers.py", "    return Cheap()", "    time.sleep(1)\n    return Cheap()"),
    "the call is gone": ("helpers.py", "        time.sleep(1)\n        return path", "        return path"),
    "a chain through a function that was not reached": (
        "helpers.py",
        "    stripped = text.strip()",
        '    Costly().get("/")\n    stripped = text.strip()',
    ),
    "a call in a coroutine": ("app.py", "    return shared(text)", "    helpers.quiet()\n    return shared(text)"),
}
BEYOND = {
    "another class comes back": ("helpers.py", "    return Cheap()", "    return Costly()"),
    "a base class gets another client": ("service.py", "super().__init__(helpers.Cheap())", "super().__init__(helpers.Costly())"),
    "a parameter is given something else": (
        "service.py",
        "return helpers.called(helpers.Cheap())",
        "return helpers.called(helpers.Costly())",
    ),
    "a module's name stands for something else": ("helpers.py", "default = Cheap()", "default = Costly()"),
    "a registry holds something": ("helpers.py", "registry = {}", 'registry = {}\nregistry["a"] = Costly()'),
    "a name that others look for": ("helpers.py", "default = Cheap()", "default = Cheap()\nlate = quiet"),
    "a new function": ("helpers.py", "default = Cheap()", "default = Cheap()\n\n\ndef more():\n    time.sleep(1)\n"),
    "a file that does not parse": ("helpers.py", "default = Cheap()", "default = ("),
}  # fmt: skip


def write(root: Path) -> None:
    for name, text in FILES.items():
        (root / name).write_text(text)


def edit(root: Path, name: str, before: str, after: str) -> None:
    text = (root / name).read_text()
    assert before in text
    (root / name).write_text(text.replace(before, after, 1))


def found(root: Path, cache: bool) -> CheckReport:
    report = check(root, Options(cache=cache, notes=True))
    return replace(report, stats=replace(report.stats, parsed_now=0))


class Linked:
    """Counts the runs that linked the whole project."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.times = 0
        link = module._linked

        def counted(*args):  # type: ignore[no-untyped-def]
            self.times += 1
            return link(*args)

        patched.setattr(module, "_linked", counted)


@pytest.mark.parametrize("kind", INSIDE)
def test_an_edit_inside_a_body_is_all_that_is_linked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write(tmp_path)
    before = found(tmp_path, cache=True)
    edit(tmp_path, *INSIDE[kind])
    linked = Linked(monkeypatch)
    after = found(tmp_path, cache=True)
    assert linked.times == 0
    assert after == found(tmp_path, cache=False)
    assert after != before


@pytest.mark.parametrize("kind", BEYOND)
def test_an_edit_that_others_may_see_is_followed_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write(tmp_path)
    found(tmp_path, cache=True)
    edit(tmp_path, *BEYOND[kind])
    linked = Linked(monkeypatch)
    after = found(tmp_path, cache=True)
    assert linked.times == 1
    assert after == found(tmp_path, cache=False)


def test_one_edit_after_another_and_all_of_them_taken_back(tmp_path: Path) -> None:
    write(tmp_path)
    first = found(tmp_path, cache=True)
    for change in (*INSIDE.values(), *BEYOND.values()):
        name, before, after = change
        if before in (tmp_path / name).read_text():
            edit(tmp_path, name, before, after)
            assert found(tmp_path, cache=True) == found(tmp_path, cache=False)
    write(tmp_path)
    assert found(tmp_path, cache=True) == first


def test_few_edits_are_kept_beside_the_facts_of_all(tmp_path: Path) -> None:
    write(tmp_path)
    found(tmp_path, cache=True)
    facts = tmp_path / CACHE_DIR / store.FACTS
    written = facts.read_bytes()
    edit(tmp_path, *INSIDE["a blocking call in a helper"])
    assert check(tmp_path, Options()).stats.parsed_now == 1
    assert facts.read_bytes() == written
    (tmp_path / CACHE_DIR / "report").unlink()
    assert check(tmp_path, Options()).stats.parsed_now == 0


def test_facts_that_were_damaged_are_read_again(tmp_path: Path) -> None:
    write(tmp_path)
    first = found(tmp_path, cache=True)
    facts = tmp_path / CACHE_DIR / store.FACTS
    data = bytearray(facts.read_bytes())
    data[-5] ^= 0xFF
    facts.write_bytes(bytes(data))
    for name in ("report", "graphs"):
        (tmp_path / CACHE_DIR / name).unlink()
    assert found(tmp_path, cache=True) == first
    assert facts.read_bytes() != bytes(data)
