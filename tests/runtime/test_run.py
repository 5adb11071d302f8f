"""`unstall run`: the command itself, watched; signals, status and other people's `sitecustomize` unharmed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.runtime.conftest import APPS, Server, free_port, line_of, wait_for

RUN = [sys.executable, "-m", "unstall", "run", "--"]


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_commands_own(script: str, status: int) -> None:
    assert subprocess.run([*RUN, "sh", "-c", script], check=False).returncode == status


def test_a_program_that_is_not_there_is_one_sentence() -> None:
    done = subprocess.run([*RUN, "no-such-program"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot run no-such-program: no such program" in done.stderr


def test_signals_reach_the_command() -> None:
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*RUN, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "got\n"
        assert process.wait(10) == 3


def test_the_users_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine')\n")
    code = "import sys; print('hooked', any(type(f).__module__ == 'unstall.runtime.inject' for f in sys.meta_path))"
    out = subprocess.run(
        [*RUN, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # The launcher itself prints its own line, at its end where output is buffered.
    assert "mine\nhooked True\n" in out


def test_a_server_is_watched_without_touching_its_code(tmp_path: Path) -> None:
    port, record = free_port(), tmp_path / "r.jsonl"
    server = Server(
        record,
        ["-m", "unstall", "run", "--record", str(record), "--", sys.executable, "-m", "uvicorn", "stalling:app",
         "--port", str(port), "--log-level", "warning", "--workers", "2"],
        port,
        {"PYTHONPATH": "", "UNSTALL_RECORD": "", "UNSTALL_THRESHOLD": ""},
    )  # fmt: skip
    try:
        server.wait_ready()
        server.get("/sleep/0.3")
        assert server.wait_stall(line_of("helper"))["route"] == "GET /sleep/{seconds}"
        assert server.stop() in (0, 128 + signal.SIGTERM)
        assert len(server.wait_events("stopped", 2)) == 2
    finally:
        server.close()


def test_as_pid_1_it_lets_the_witness_finish(tmp_path: Path) -> None:
    """In a pid namespace of its own, as in a container; the server is killed in the middle of a stall."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    if subprocess.run([unshare, "-rpf", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no pid namespaces here")
    port, record = free_port(), tmp_path / "r.jsonl"
    run = [unshare, "-rpf", "--mount-proc", *RUN[:-1], "--record", str(record), "--", sys.executable, "-m",
           "uvicorn", "stalling:app", "--port", str(port), "--log-level", "warning"]  # fmt: skip
    with subprocess.Popen(run, cwd=APPS, start_new_session=True) as process:
        try:
            client = ["curl", "-s", "--retry", "50", "--retry-connrefused", "--retry-delay", "0"]
            address = f"http://127.0.0.1:{port}"
            subprocess.run([*client, f"{address}/health"], check=True, capture_output=True, timeout=60)
            with subprocess.Popen([*client, "--max-time", "20", f"{address}/long-gil"]) as asking:
                wait_for(lambda: "stall_began" in record.read_text(), 20, record.read_text)
                time.sleep(0.3)
                servers = subprocess.run(
                    ["pgrep", "-f", f"uvicorn stalling:app --port {port}"], capture_output=True, text=True
                ).stdout.split()
                os.kill(int(servers[-1]), signal.SIGKILL)
                asking.wait(20)
            assert process.wait(20) == 128 + signal.SIGKILL
            assert '"event":"killed"' in record.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
