"""Mixed load with random stalls while observers are killed: nothing lost, nothing invented, nothing leaked."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime.conftest import Server, line_of
from tests.runtime.test_observer import children

STALLS = {"/sleep/0.2": "helper", "/depends": "dependency", "/background": "background", "/gil": "gil"}
HEALTHY = ("/health", "/awaits/0.05", "/thread", "/short")


def resident_kb(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:"))


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [20, 1800])
def test_nothing_is_lost_invented_or_leaked(serve: Callable[..., Server], seconds: int) -> None:
    chance = random.Random(7)
    server = serve()
    pid = server.process.pid
    failures: list[str] = []
    asked: list[str] = []
    until = time.monotonic() + seconds

    def client(paths: list[str], pause_s: float) -> None:
        while time.monotonic() < until:
            path = chance.choice(paths)
            try:
                assert server.get(path) == 200
                asked.append(path)
            except (OSError, AssertionError) as error:
                failures.append(f"{path}: {error}")
            time.sleep(pause_s)

    threads = [threading.Thread(target=client, args=(list(HEALTHY), 0.02)) for _ in range(3)]
    threads.append(threading.Thread(target=client, args=(list(STALLS), 0.5)))
    for thread in threads:
        thread.start()
    time.sleep(min(5, seconds / 4))
    warm_kb, descriptors = resident_kb(pid), len(os.listdir(f"/proc/{pid}/fd"))
    while time.monotonic() < until:
        time.sleep(chance.uniform(1, 4))
        for child in children(pid):
            if chance.random() < 0.5:
                os.kill(child, signal.SIGKILL)
    for thread in threads:
        thread.join()
    time.sleep(1)
    assert failures == []
    assert server.process.poll() is None
    # The interpreter's own heap settles for a while; a leak per request or per beat would be far larger.
    assert resident_kb(pid) - warm_kb < 8_000
    assert len(os.listdir(f"/proc/{pid}/fd")) <= descriptors + 6
    ended = server.events("stall_ended")
    lines = {line_of(mark) for mark in STALLS.values()}
    own = [e for e in ended if e["blame"] == "code" and e["site"] and e["site"]["own"]]
    assert {e["site"]["line"] for e in own} <= lines
    caused = sum(asked.count(path) for path in STALLS if path != "/gil")
    assert len([e for e in ended if e["duration_s"] > 0.15]) >= 0.9 * caused
    assert len({(e["pid"], e["monotonic"]) for e in ended}) == len(ended), "a stall was told twice"
