"""How fast the virtual kubelet is: pod-hours per CPU second, memory, growth with the number of pods."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from random import Random

from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import DAY_S, Lognormal, Resampled
from unstall.kubelet.virtual import simulate
from unstall.model import HttpGet, ProbeSpec, ProbeType

PODS = (100, 1_000, 10_000, 100_000)
RECORDED = 1_000
PER_DAY = 25.0
AT_LEAST = 20
TARGET_S = 5.0
TARGET_MB = 500.0


def spec() -> PodSpec:
    """Default probes: every 10 s, 1 s to answer, three failures; liveness and readiness."""
    health = HttpGet(8000, "/health")
    return PodSpec(probes=(ProbeSpec(ProbeType.READINESS, health), ProbeSpec(ProbeType.LIVENESS, health)))


def recorded(median_s: float) -> tuple[float, ...]:
    """The lengths of 1,000 stalls, half of them above the median, the longest two minutes."""
    random, length_s = Random(7), Lognormal(median_s, 1.5, longest_s=120.0)
    return tuple(max(0.1, length_s(random)) for _ in range(RECORDED))


def run(pods: int, median_s: float, processes: int) -> dict[str, float]:
    """One measured run in this process."""
    source = Resampled(recorded(median_s), PER_DAY, AT_LEAST)
    wall_began, cpu_began = time.perf_counter(), time.process_time()
    toll = simulate(spec(), source, pods, DAY_S, seed=1, processes=processes)
    wall_s, cpu_s = time.perf_counter() - wall_began, time.process_time() - cpu_began
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stalls": toll.stalls,
        "missed": toll.missed_probes,
        "restarts": toll.restarts,
        "per_day": toll.restarts_per_pod_day,
        "unready": toll.unready_share,
    }


def measured(pods: int, median_s: float, processes: int = 1) -> dict[str, float]:
    """One run in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--pods", str(pods), "--median", str(median_s), "--processes", str(processes)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures: dict[str, float] = json.loads(out)
    return figures


def machine() -> str:
    """The processor and the Python that the figures belong to."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table() -> bool:
    """Print what was measured; whether both rows of 10,000 pods meet the target."""
    print("24 h, default liveness and readiness probes, every pod its own history of at least 20 stalls a day")
    print(
        f"{'pods':>8} {'median':>7} {'cores':>5} {'CPU':>8} {'wall':>8} {'memory':>8} {'pod-hours per CPU s':>20}",
        end="",
    )
    print(f" {'stalls':>10} {'missed':>10} {'restarts':>9}")
    judged: dict[float, bool] = {}
    rows = [(pods, 0.5, 1) for pods in PODS] + [(10_000, 3.0, 1), (10_000, 0.5, os.cpu_count() or 1)]
    for pods, median_s, processes in rows:
        m = measured(pods, median_s, processes)
        rate = f"{pods * 24 / m['cpu_s']:>20,.0f}" if processes == 1 else f"{'-':>20}"
        print(f"{pods:>8,} {median_s:>5.1f} s {processes:>5} {m['cpu_s']:>6.2f} s {m['wall_s']:>6.2f} s", end=" ")
        print(f"{m['memory_mb']:>5.0f} MB {rate} {m['stalls']:>10,} {m['missed']:>10,} {m['restarts']:>9,}", flush=True)
        if pods == 10_000 and processes == 1:
            judged[median_s] = m["cpu_s"] < TARGET_S and m["memory_mb"] < TARGET_MB
    print(f"target: 10,000 pods in under {TARGET_S:.0f} s CPU on one core, under {TARGET_MB:.0f} MB")
    for median_s, met in judged.items():
        print(f"  median stall {median_s:.1f} s: {'met' if met else 'missed'}")
    print(f"{machine()}, unstall {metadata.version('unstall')}")
    return all(judged.values())


def main() -> None:
    """`--pods` is for the bench itself: one run, figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int)
    parser.add_argument("--median", type=float, default=0.5)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.pods:
        print(json.dumps(run(arguments.pods, arguments.median, arguments.processes)))
    else:
        table()


if __name__ == "__main__":
    main()
