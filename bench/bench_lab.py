"""What the lab itself costs: the client's scheduling error, the orchestrator's CPU, the heartbeat's share."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unstall.kubelet.spec import PodSpec
from unstall.lab.load import Call, LoadPlan
from unstall.lab.measure import percentile
from unstall.lab.serve import Container, Server, free_port, is_open
from unstall.lab.trial import TrialPlan, TrialRun
from unstall.model import HttpGet, ProbeSpec, ProbeType

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
RATE, SECONDS, PAIRS = 200.0, 20.0, 9


def main() -> None:
    print(f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trivial.py").write_text(APP)
        scheduling_and_orchestrator(Path(folder))
        heartbeat(Path(folder))


def scheduling_and_orchestrator(folder: Path) -> None:
    """One trial at 200 requests/s under a probe every second; the client's lateness, and our own CPU."""
    port = free_port()
    plan = TrialPlan(
        "bench",
        Server("trivial:app", folder, port, ("--no-access-log",)),
        PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, HttpGet(port, "/"), 1, 1, 3),)),
        LoadPlan(f"http://127.0.0.1:{port}", (Call("GET", "/"),), rate=RATE, duration_s=SECONDS),
        lasts_s=SECONDS,
    )
    run = TrialRun(plan, folder)
    before, began_at = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    asyncio.run(run.run())
    after, took_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began_at
    late = [request.sent_at - request.due_at for request in run.requests]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    p50, p99 = (percentile(late, share) or 0.0 for share in (0.5, 0.99))
    print(
        f"client: {len(late)} requests at {RATE:.0f}/s, scheduling error p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms"
    )
    print(f"prober + orchestrator: {cpu_s:.2f} CPU s in {took_s:.1f} s = {100 * cpu_s / took_s:.1f} % of a core")
    print(json.dumps({"client_p99_ms": round(p99 * 1e3, 2), "orchestrator_share": round(cpu_s / took_s, 4)}))


def heartbeat(folder: Path) -> None:
    """Requests per CPU second of the server with and without watching, in alternating pairs under wrk."""
    ratios = []
    for pair in range(PAIRS):
        order = [True, False] if pair % 2 else [False, True]
        per_cpu_s = {watched: asyncio.run(_served(folder, watched)) for watched in order}
        ratios.append(per_cpu_s[True] / per_cpu_s[False])
        print(f"  pair {pair + 1}: with/without {ratios[-1]:.3f}")
    print(f"heartbeat: requests per CPU second with/without, median of {PAIRS} pairs {statistics.median(ratios):.3f}")


async def _served(folder: Path, watched: bool) -> float:
    port = free_port()
    record = folder / "record.jsonl" if watched else None
    container = await Container.start(Server("trivial:app", folder, port, ("--no-access-log",), record=record))
    try:
        while not is_open(port):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        before = _cpu_s(container.pid)
        wrk = ["wrk", "-t1", "-c16", "-d3s", f"http://127.0.0.1:{port}/"]
        out = await asyncio.to_thread(subprocess.run, wrk, capture_output=True, text=True, check=True)
        requests = int(re.findall(r"(\d+) requests in", out.stdout)[0])
        return requests / (_cpu_s(container.pid) - before)
    finally:
        await container.stop(1.0)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
