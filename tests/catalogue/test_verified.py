"""What the catalogue says is verified can be proved against the libraries themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import pytest

from unstall import catalogue

PROVE = Path(__file__).with_name("prove.py")
ENVIRONMENTS = Path(__file__).with_name("environments")
VERIFIED = tomllib.loads(files("unstall.catalogue").joinpath("verified.toml").read_text("utf-8"))
ROWS = {row.name: row for row in catalogue.load().rows()}
LIGHT = ("requests", "aiohttp", "anyio", "urllib3", "playwright", "cryptography", "uvloop", "websockets", "httptools")
GONE_FROM_NEWER_PYTHON = ("telnetlib", "nntplib", "crypt")


def outcomes(python: str, spellings: list[str], home: Path) -> dict[str, tuple[str, str, str]]:
    """What the prover says in another interpreter, where importing a library can do this process no harm."""
    answer = subprocess.run(
        [python, str(PROVE)],
        input=json.dumps(spellings),
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
        env={**os.environ, "HOME": str(home)},
    )
    return {spelling: tuple(found) for spelling, found in json.loads(answer.stdout).items()}


def installed(root: str) -> bool:
    try:
        version(root)
    except PackageNotFoundError:
        return False
    return True


def test_every_verified_path_of_the_standard_library_is_there(tmp_path: Path) -> None:
    names = [name for name, row in ROWS.items() if row.verified.startswith("CPython")]
    if sys.version_info >= (3, 12):
        names = [name for name in names if not name.startswith(GONE_FROM_NEWER_PYTHON)]
    found = outcomes(sys.executable, names, tmp_path)
    assert len(names) > 700
    assert {name: outcome for name, (outcome, _, _) in found.items() if outcome != "proved"} == {}


def test_every_verified_path_of_the_light_libraries_is_there(tmp_path: Path) -> None:
    present = tuple(root for root in LIGHT if installed(root))
    names = [name for name, row in ROWS.items() if row.verified and name.split(".")[0] in present]
    found = outcomes(sys.executable, names, tmp_path)
    assert "requests" in present
    assert len(names) > 80
    assert {name: outcome for name, (outcome, _, _) in found.items() if outcome not in ("proved", "absent")} == {}


def test_the_prover_tells_a_wrong_name_from_a_right_one(tmp_path: Path) -> None:
    wrong = ["requests.fetch", "requests.Session().fetch", "queue.Queue().take", "time.sleeep", "no_such_library.get"]
    right = ["requests.get", "queue.Queue().get", "concurrent.futures.Executor().map().__iter__", "open().read"]
    found = outcomes(sys.executable, wrong + right, tmp_path)
    assert [found[name][0].split()[0] for name in wrong] == ["missing"] * 4 + ["absent"]
    assert [found[name][0] for name in right[:2] + right[3:]] == ["proved"] * 3


def test_most_rows_of_known_libraries_are_verified() -> None:
    verified = sum(bool(row.verified) for row in ROWS.values())
    assert verified > len(ROWS) // 2


def test_unverified_rows_are_written_down_one_by_one() -> None:
    known = {line.split(" = ")[0] for line in VERIFIED["modules"].splitlines()}
    unproved = [name for name, row in ROWS.items() if not row.verified and name.split(".")[0] in known]
    assert set(unproved) <= set(catalogue.load().unproved)


def environment(folder: Path, arguments: list[str]) -> Path:
    """A new environment with exactly these distributions; gives its interpreter."""
    uv = shutil.which("uv")
    assert uv is not None, "uv makes the environments"
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *arguments], check=True)
    return python


@pytest.mark.soak
@pytest.mark.parametrize("pins", sorted(ENVIRONMENTS.glob("*.txt")), ids=lambda pins: pins.stem)
def test_every_verified_path_is_there_in_the_pinned_libraries(pins: Path, tmp_path: Path) -> None:
    python = environment(tmp_path, ["--no-deps", "-r", str(pins)])
    owned = {pin.strip().lower().replace("==", " ").replace("_", "-") for pin in pins.read_text().splitlines()}
    names = [name for name, row in ROWS.items() if row.verified.lower().replace("_", "-") in owned]
    found = outcomes(str(python), names, tmp_path)
    assert len(names) > 50
    assert {name: outcome for name, (outcome, _, _) in found.items() if outcome != "proved"} == {}


@pytest.mark.soak
def test_every_operation_of_a_generated_client_is_a_blocking_row(tmp_path: Path) -> None:
    """boto3's methods are asked for in its own service models: operations block, what only builds something does not."""
    pins = (ENVIRONMENTS / "services.txt").read_text().splitlines()
    python = environment(tmp_path, [pin for pin in pins if pin.startswith("boto3==")])
    answer = subprocess.run([str(python), "-c", OPERATIONS], capture_output=True, text=True, check=True)
    services = json.loads(answer.stdout)
    rows = catalogue.load()
    assert len(services) > 200
    for service, (operations, others) in services.items():
        durations = {name: row.duration for name in operations if (row := rows.find(f"boto3.client().{name}"))}
        assert set(durations) == set(operations), service
        assert set(durations.values()) == {"U"}, service
        for name in others:
            row = rows.find(f"boto3.client().{name}")
            assert row is not None and row.duration == "0", (service, name)


OPERATIONS = """
import json
import boto3

NAMES = ("can_paginate", "get_paginator", "get_waiter", "generate_presigned_url", "close", "generate_presigned_post")
session = boto3.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
services = {}
for service in session.get_available_services():
    client = session.client(service)
    operations = sorted(client.meta.method_to_api_mapping)
    services[service] = operations, [name for name in NAMES if hasattr(client, name) and name not in operations]
print(json.dumps(services))
"""
