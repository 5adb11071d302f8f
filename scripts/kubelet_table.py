"""Writes the table of docs/kubelet.md: what the machine predicts for each real trace beside what was seen."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "kubelet"))

from case_files import folder  # noqa: E402
from replay import Predicted, Replay, compare  # noqa: E402

PAGE = ROOT / "docs" / "kubelet.md"
BEGIN, END = "<!-- table: scripts/kubelet_table.py -->", "<!-- end of table -->"


def times(values: list[float]) -> str:
    """A list of seconds, or a dash."""
    return ", ".join(f"{value:.1f}" for value in values) or "-"


def ranges(values: list[tuple[float, float]]) -> str:
    """Predicted restarts: one time where no back-off makes it a range."""
    return ", ".join(f"{low:.1f}-{high:.1f}" for low, high in values) or "-"


def counts(probes: list[str]) -> str:
    """Probes as sent and failed."""
    return f"{len(probes)} / {sum(result == 'failure' for result in probes)}"


def rows(trace: dict[str, Any], predicted: Predicted) -> list[str]:
    """Two lines of the table: predicted and seen."""
    end = min(trace["manifest_removed_at"] or 1e9, trace["duration_s"]) - 0.2
    kills = [e["t"] for e in trace["events"] if e["reason"] == "Killing"]
    exits = [a["exit_code"] for a in trace["actions"] if a["kind"] == "exit"]
    starts = [e["t"] for e in trace["events"] if e["reason"] == "Started"][1:]
    seen = [p["result"] for p in trace["probes"] if p["t_start"] < end]
    mine = [result for at, _, result in predicted.probes if at < end]
    wrong = compare(trace, predicted)
    codes = ", ".join(str(code) for _, code in predicted.exits[: len(exits)]) or "-"
    real_codes = ", ".join(map(str, exits)) or "-"
    verdict = "yes" if not wrong else "; ".join(wrong)
    return [
        f"| {trace['name']} | predicted | {counts(mine)} | {times([k[0] for k in predicted.kills])} | {codes} "
        f"| {ranges(predicted.starts[: len(starts)])} | {verdict} |",
        f"| | real | {counts(seen)} | {times(kills)} | {real_codes} | {times(starts)} | |",
    ]


def main() -> int:
    """Write the page's table; `--check` only says whether it is up to date."""
    traces = json.loads((folder() / "traces.json").read_text(encoding="utf-8"))["traces"]
    lines = [
        "| trace | | probes / failed | kills at, s | exit codes | restarts at, s | within tolerance |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for trace in traces:
        lines += rows(trace, Replay(trace).play())
    page = PAGE.read_text(encoding="utf-8")
    table = f"{BEGIN}\n" + "\n".join(lines) + f"\n{END}"
    fresh = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: table, page, flags=re.DOTALL)
    if "--check" in sys.argv:
        return 0 if fresh == page else 1
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
