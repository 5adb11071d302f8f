"""Where containers run: without root, without a place to write, as the child of other people's starters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import APPS, Server, free_port, line_of, wait_for

from unstall.runtime.inject import SITE

RUN = [sys.executable, "-m", "unstall", "run", "--"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """A server under `unstall run`, behind another command; ended with the test."""
    servers: list[Server] = []

    def start(before: list[str], **extra: str) -> Server:
        port, record = free_port(), tmp_path / "r.jsonl"
        command = [*before, *RUN, sys.executable, "-m", "uvicorn", "stalling:app", "--port", str(port)]
        servers.append(Server(record, command[1:], port, extra, command[0]))
        servers[-1].wait_ready()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def told(server: Server) -> str:
    """The observer's line about the stall, once it is there."""
    line = f"stalling.py:{line_of('helper')} in deepest"
    wait_for(lambda: f"so far  GET /sleep/{{seconds}}  {line}" in _shown(server), 60, lambda: server.log.read_text())
    return server.log.read_text()


def _shown(server: Server) -> str:
    return server.log.read_text().replace(str(APPS) + os.sep, "")


_DROP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
for capability in range(41):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_no_capability_and_no_home_is_needed(started: Any) -> None:
    server = started([sys.executable, "-c", _DROP], UNSTALL_RECORD="", HOME="/nonexistent")
    server.get("/sleep/0.4")
    told(server)
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    if os.getuid() == 0:
        assert "CapEff:\t0000000000000000" in status


def test_nothing_needs_to_be_written(started: Any) -> None:
    """A read-only root and no folder for temporary files: the mapping is memory, the line goes to stderr."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    seal = "mount --bind / /; mount -o remount,ro,bind /"
    own = "-m" if os.getuid() == 0 else "-rm"
    if subprocess.run([unshare, own, "sh", "-c", seal], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    script = f'{seal} && ! touch /unstall 2>/dev/null && cd "$PWD" && exec "$@"'
    server = started([unshare, own, "sh", "-c", script, "sh"], UNSTALL_RECORD="/var/stalls.jsonl")
    server.get("/sleep/0.4")
    assert told(server).count("cannot write the record /var/stalls.jsonl: Read-only file system") in (1, 2)


def test_a_starter_that_patches_python_itself_comes_first_and_both_work(started: Any, tmp_path: Path) -> None:
    """As ddtrace-run and opentelemetry-instrument do: a folder before PYTHONPATH, then the command."""
    folder = tmp_path / "starter"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.stderr.write('starter patched ' + os.path.basename(sys.argv[0] if hasattr(sys, 'argv') else '') + '\\n')\n"
        "# Such a starter looks for the one it hides, as ours does.\n"
        "import importlib.machinery, importlib.util\n"
        "rest = [p for p in sys.path if os.path.abspath(p) != os.path.dirname(os.path.abspath(__file__))]\n"
        "spec = importlib.machinery.PathFinder.find_spec('sitecustomize', rest)\n"
        "spec and spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
    )
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import os, sys\n"
        f"os.environ['PYTHONPATH'] = {str(folder)!r} + os.pathsep + os.environ.get('PYTHONPATH', '')\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    server = started([sys.executable, str(starter)], UNSTALL_RECORD="")
    server.get("/sleep/0.4")
    assert "starter patched" in told(server)


def test_a_starter_that_runs_no_other_sitecustomize_finds_ours_by_its_entry_point(tmp_path: Path) -> None:
    """As opentelemetry-instrument: only what is registered with it is called, and only under `unstall run`."""
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    name = pyproject["project"]["entry-points"]["opentelemetry_pre_instrument"]["unstall"]
    (tmp_path / "sitecustomize.py").write_text("")
    code = (
        "import importlib, sys\n"
        f"module, _, function = {name!r}.partition(':')\n"
        "getattr(importlib.import_module(module), function)()\n"
        "print('hooks', [type(f).__module__ for f in sys.meta_path].count('unstall.runtime.inject'))\n"
    )
    for folders, hooks in (([SITE], 1), ([str(tmp_path), SITE], 1), ([str(tmp_path)], 0)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"hooks {hooks}\n" in done.stdout, folders


def test_a_reloading_server_watches_each_of_its_processes(tmp_path: Path) -> None:
    app, port, record = tmp_path / "reloaded.py", free_port(), tmp_path / "r.jsonl"
    source = (APPS / "stalling.py").read_text()
    app.write_text(source)
    command = ["-m", "uvicorn", "reloaded:app", "--app-dir", str(tmp_path), "--port", str(port), "--reload",
               "--reload-dir", str(tmp_path)]  # fmt: skip
    server = Server(record, [*RUN[1:], sys.executable, *command], port, {})
    try:
        server.wait_ready()
        first = server.wait_events("started", 1, 60)[0]["pid"]
        app.write_text(source + "\n# changed\n")
        wait_for(lambda: len({e["pid"] for e in server.events("started")}) == 2, 60, lambda: server.log.read_text())
        server.wait_ready()
        server.get("/sleep/0.3")
        stall = server.wait_stall(line_of("helper"), timeout_s=60)
        assert stall["pid"] != first
        assert stall["site"]["path"] == str(app)
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        server.close()
