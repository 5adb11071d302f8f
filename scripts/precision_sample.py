"""Draw reports of `unstall check` on checked-out projects, to be read by hand: docs/precision-sample.json.

python scripts/precision_sample.py 20261123 12 OWNER/NAME=FOLDER@COMMIT ... > docs/precision-sample.json
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from unstall.source.check import Options, check


def main() -> None:
    """The same seed draws the same reports."""
    seed, most, *projects = sys.argv[1:]
    told, sample = {}, []
    for project in projects:
        name, _, place = project.partition("=")
        folder, _, commit = place.rpartition("@")
        report = check(Path(folder), Options(cache=False))
        rows = [
            {
                "repo": name,
                "path": finding.site.path,
                "line": finding.site.line,
                "rule": finding.rule,
                "severity": finding.severity,
                "primitive": finding.primitive.name,
                "entrance": finding.chains[0].entrance.label,
                "chain": [f"{s.site.path}:{s.site.line} {s.callee}" for s in finding.chains[0].steps],
            }
            for finding in report.findings
        ]
        rows.sort(key=lambda row: (row["path"], row["line"], row["primitive"]))
        told[name] = {"commit": commit, "lines": report.stats.lines, "findings": len(rows)}
        drawn = random.Random(f"{seed} {name}").sample(rows, min(int(most), len(rows)))
        sample.extend(sorted(drawn, key=lambda row: (row["path"], row["line"])))
    print(json.dumps({"schema": 1, "seed": int(seed), "projects": told, "sample": sample}, indent=1))


if __name__ == "__main__":
    main()
