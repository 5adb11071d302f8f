"""`unstall lab` as a person meets it: real processes, real sockets, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from unstall.model import ProbeType
from unstall.records import read_report

APP = """
import asyncio, os, time
from fastapi import FastAPI
app = FastAPI()
@app.get("/hello")
async def hello():
    time.sleep(float(os.environ.get("BLOCK", "0.3")))
    return {}
@app.get("/health")
async def health(): return {}
@app.post("/orders")
async def order(order: dict): return order
"""
FIXED = APP.replace("async def hello", "def hello")


class Lab:
    """A folder with an app whose module name is unique, so that its processes can be told from others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = f"app_{uuid.uuid4().hex[:12]}"
        self.app = f"{self.module}:app"
        self.write(APP)

    def write(self, source: str) -> None:
        (self.folder / f"{self.module}.py").write_text(source)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "unstall", "lab", *arguments],
            cwd=self.folder,
            env={**os.environ, "CI": "true", "TMPDIR": str(self.folder / "tmp"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        assert self.left_behind() == []
        return process.returncode, out, err

    def left_behind(self) -> list[str]:
        """Processes and temporary files of this app that are still there."""
        processes = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if self.module in line:
                processes.append(line)
        return processes + [str(path) for path in (self.folder / "tmp").glob("unstall-*")]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tmp").mkdir()
        yield Lab(Path(folder))


def test_an_app_that_blocks_is_seen_to_block_at_its_line(lab: Lab) -> None:
    code, out, err = lab.run(
        lab.app, "--request", "GET /hello", "--burst", "3", "--duration", "3", "--period", "1", "--failures", "30",
        "--json", "result.json", BLOCK="0.7",
    )  # fmt: skip
    report = read_report(lab.folder / "result.json")
    timeline = report.experiments[0].trials[0].timeline
    assert code in (0, 1), err
    assert [r.status for r in timeline.requests] == [200, 200, 200]
    assert timeline.longest_stall_s > 0.6
    guilty = {(stall.site.path, stall.site.line) for stall in timeline.stalls if stall.site}
    assert (f"{lab.module}.py", 7) in guilty
    assert "GET /hello" in out and f"{lab.module}.py:7" in out
    assert (lab.folder / "unstall-lab.html").stat().st_size > 1000


def test_what_will_be_called_and_probed_is_printed_first(lab: Lab) -> None:
    _, out, _ = lab.run(lab.app, "--duration", "1", "--rate", "5")
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if "requests/s" in line)
    probed = next(i for i, line in enumerate(lines) if "GET /health every 10 s, 1 s timeout, 3 failures" in line)
    assert max(first, probed) < next(i for i, line in enumerate(lines) if line.startswith("unstall "))


def test_the_fixed_version_wins_against_the_blocking_one(lab: Lab) -> None:
    fixed = lab.folder / "fixed"
    fixed.mkdir()
    (fixed / f"{lab.module}.py").write_text(FIXED)
    code, out, err = lab.run(
        lab.app, "--against", "fixed", "--trials", "2", "--request", "GET /hello", "--burst", "4", "--duration", "1",
        BLOCK="0.5",
    )  # fmt: skip
    assert (code, "HOLDS" in out) == (0, True), out + err
    assert "before" in out and "after" in out and "(2 of 2 trials)" in out


def test_a_change_that_changes_nothing_does_not_hold(lab: Lab) -> None:
    same = lab.folder / "same"
    same.mkdir()
    (same / f"{lab.module}.py").write_text(APP)
    code, out, _ = lab.run(
        lab.app, "--against", "same", "--trials", "1", "--request", "GET /hello", "--burst", "2", "--duration", "1"
    )
    assert code == 1 and "DOES NOT HOLD" in out


def test_a_manifest_gives_the_probes(lab: Lab) -> None:
    (lab.folder / "deploy.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  selector: {matchLabels: {a: b}}\n"
        "  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers:\n      - name: web\n        image: web\n"
        "        ports: [{name: http, containerPort: 8000}]\n        livenessProbe:\n"
        "          httpGet: {path: /health, port: http}\n          periodSeconds: 1\n          failureThreshold: 60\n"
    )
    code, out, err = lab.run(
        lab.app, "--manifest", "deploy.yaml", "--duration", "2", "--request", "GET /health", "--json", "r.json"
    )
    assert code == 0, err
    assert "GET /health every 1 s, 1 s timeout, 60 failures (deploy.yaml:" in out
    probes = read_report(lab.folder / "r.json").experiments[0].trials[0].timeline.probes
    assert {p.type for p in probes} == {ProbeType.LIVENESS} and probes[-1].outcome == "success"


def test_a_body_and_headers_reach_the_app(lab: Lab) -> None:
    (lab.folder / "order.json").write_text('{"item": 7}')
    lab.write(APP + "\nfrom fastapi import Request\n@app.put('/seen')\nasync def seen(request: Request, body: dict):\n"
              "    assert body == {'item': 7} and request.headers['x-tenant'] == 'one'\n    return {}\n")  # fmt: skip
    code, _, err = lab.run(
        lab.app, "--request", "PUT /seen", "--body", "order.json", "--header", "X-Tenant: one", "--burst", "2",
        "--duration", "1", "--json", "r.json",
    )  # fmt: skip
    assert code == 0, err
    requests = read_report(lab.folder / "r.json").experiments[0].trials[0].timeline.requests
    assert [r.status for r in requests] == [200, 200]


def bad(lab: Lab, *arguments: str) -> str:
    code, _, err = lab.run(*arguments)
    assert code == 2, err
    assert "Traceback" not in err or "app_" in err
    return err


def test_a_wrong_attribute_names_the_right_one(lab: Lab) -> None:
    assert f"did you mean {lab.app}?" in bad(lab, f"{lab.module}:application")


def test_an_app_that_cannot_be_imported_shows_its_own_traceback(lab: Lab) -> None:
    lab.write("import os\nURL = os.environ['NO_SUCH_VARIABLE_HERE']\n")
    said = bad(lab, lab.app)
    assert "KeyError: 'NO_SUCH_VARIABLE_HERE'" in said and f"{lab.module}.py" in said and "uvicorn" not in said


def test_a_route_that_is_not_there_names_a_near_one(lab: Lab) -> None:
    assert "did you mean GET /hello" in bad(lab, lab.app, "--request", "GET /helo")


def test_a_liveness_path_that_is_not_there_is_refused(lab: Lab) -> None:
    assert "no route GET /healthz" in bad(lab, lab.app, "--liveness", "GET /healthz")


def test_a_liveness_path_that_says_no_on_an_idle_app_is_told(lab: Lab) -> None:
    lab.write(APP.replace("async def health(): return {}", "async def health(): 1 / 0"))
    assert "statuscode: 500" in bad(lab, lab.app)


def test_an_app_that_dies_at_start_shows_its_last_words(lab: Lab) -> None:
    lab.write(
        "from contextlib import asynccontextmanager\nfrom fastapi import FastAPI\n@asynccontextmanager\n"
        "async def life(app):\n    raise RuntimeError('no database')\n    yield\napp = FastAPI(lifespan=life)\n"
        "@app.get('/health')\nasync def health(): return {}\n"
    )
    said = bad(lab, lab.app)
    assert "before it opened its port" in said and "no database" in said


def test_an_app_that_never_opens_its_port_is_given_up(lab: Lab) -> None:
    lab.write(
        "import asyncio\nfrom contextlib import asynccontextmanager\nfrom fastapi import FastAPI\n@asynccontextmanager\n"
        "async def life(app):\n    await asyncio.sleep(1000)\n    yield\napp = FastAPI(lifespan=life)\n"
        "@app.get('/health')\nasync def health(): return {}\n"
    )
    assert "did not open port" in bad(lab, lab.app, "--start-limit", "3")


def test_a_port_in_use_is_named(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port}" in bad(lab, lab.app, "--port", str(port))


@pytest.mark.parametrize(
    ("probe", "word"),
    [
        ("exec: {command: [touch, /tmp/never]}", "--allow-exec"),
        ("httpGet: {path: /health, port: 8000, host: example.invalid}", "--allow-remote"),
    ],
)
def test_what_would_run_commands_or_leave_this_machine_needs_a_flag(lab: Lab, probe: str, word: str) -> None:
    (lab.folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: web\n    image: web\n"
        f"    livenessProbe:\n      {probe}\n"
    )
    assert word in bad(lab, lab.app, "--manifest", "pod.yaml")


def test_a_manifest_without_probes_is_refused(lab: Lab) -> None:
    (lab.folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: web, image: web}\n"
    )
    assert "pod.yaml" in bad(lab, lab.app, "--manifest", "pod.yaml")


def test_a_manifest_that_kubernetes_would_refuse_is_refused_in_its_words(lab: Lab) -> None:
    (lab.folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: web\n    image: web\n"
        "    livenessProbe:\n      httpGet: {path: /health, port: 8000}\n      successThreshold: 2\n"
    )
    said = bad(lab, lab.app, "--manifest", "pod.yaml")
    assert "must be 1" in said and "pod.yaml:10" in said


def test_flags_that_exclude_each_other_are_named(lab: Lab) -> None:
    assert "--rate and --burst" in bad(lab, lab.app, "--rate", "5", "--burst", "2")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_and_prints_what_was_measured(lab: Lab, sent: signal.Signals) -> None:
    process = lab.start(lab.app, "--duration", "60", "--rate", "20", "--request", "GET /health", "--json", "r.json")
    try:
        deadline = time.monotonic() + 60
        while not _loaded(lab) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2.0)
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Interrupted" in out and "p99 latency" in out
    assert lab.left_behind() == []
    assert json.loads((lab.folder / "r.json").read_text())["interrupted"] is True


def _loaded(lab: Lab) -> bool:
    """Whether the app has been asked anything: uvicorn's access log tells."""
    logs = (lab.folder / "tmp").glob("unstall-lab-*/*/server.log")
    return any("GET /health" in log.read_text() for log in logs)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_app_answers_leaves_nothing(lab: Lab, sent: signal.Signals) -> None:
    process = lab.start(lab.app, "--duration", "60")
    try:
        deadline = time.monotonic() + 60
        while not any("inspect_app" in line for line in lab.left_behind()) and time.monotonic() < deadline:
            time.sleep(0.02)  # until a process of the app is there: the look at its routes
        process.send_signal(sent)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode != 0
    assert lab.left_behind() == []


def test_the_fix_is_proved_against_the_app_as_it_is(lab: Lab) -> None:
    code, out, err = lab.run(
        lab.app, "--fix", "--trials", "1", "--request", "GET /hello", "--burst", "4", "--duration", "1",
        "--json", "r.json", BLOCK="0.5",
    )  # fmt: skip
    assert (code, "HOLDS" in out) == (0, True), out + err
    assert "+    await asyncio.sleep(" in read_report(lab.folder / "r.json").experiments[0].diff
    assert (lab.folder / f"{lab.module}.py").read_text() == APP


def test_where_nothing_blocks_there_is_nothing_to_fix(lab: Lab) -> None:
    lab.write(FIXED)
    assert "no blocking call reaches the event loop" in bad(lab, lab.app, "--fix")
