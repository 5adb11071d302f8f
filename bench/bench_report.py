"""The report's weight: bytes on disk and time to draw, against the number of requests."""

from __future__ import annotations

import gzip
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "report"))

import samples

from unstall.model import LabReport
from unstall.report.page import render

ROUNDS = 5


def measured(report: LabReport) -> tuple[float, float, float]:
    """Size in KB, size gzipped in KB, and the best time of some rounds in ms."""
    took_s = []
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        page = render(report).encode()
        took_s.append(time.perf_counter() - began_at)
    return len(page) / 1000, len(gzip.compress(page)) / 1000, min(took_s) * 1000


def main() -> None:
    """Print one line for each result."""
    results = [("default run, 4 experiments", samples.default_run())]
    results += [(f"own app, {2 * n:,} requests", samples.own_app(n)) for n in (100, 1_000, 10_000, 50_000)]
    results += [("own app, 5 trials, 10,000 requests", samples.own_app(1_000, 5))]
    print(f"{'result':<36}{'file':>10}{'gzip':>10}{'drawn in':>12}")
    for name, report in results:
        size, packed, took_ms = measured(report)
        print(f"{name:<36}{size:>7,.0f} KB{packed:>7,.0f} KB{took_ms:>9,.0f} ms")


if __name__ == "__main__":
    main()
