"""Answers like kubectl: a recorded moment of a scenario, or recorded failures, as a real process.

REPLAY_FOLDER and REPLAY_MOMENT choose the moment; REPLAY_FAILURES maps the first words of a command
("get events") to a case of errors.json; REPLAY_CALLS is a file to which each command line is appended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

CASES = {case["case"]: case for case in json.loads((Path(os.environ["REPLAY_ERRORS"])).read_text())["cases"]}
EMPTY = '{"apiVersion": "v1", "items": [], "kind": "List", "metadata": {"resourceVersion": ""}}'


def main(words: list[str]) -> int:
    if "REPLAY_CALLS" in os.environ:
        with open(os.environ["REPLAY_CALLS"], "a", encoding="utf-8") as calls:
            calls.write(json.dumps(words) + "\n")
    failures = json.loads(os.environ.get("REPLAY_FAILURES", "{}"))
    for start, name in failures.items():
        if " ".join(words).startswith(start):
            case = CASES[name]
            sys.stdout.write(case["stdout"])
            sys.stderr.write(case["stderr"])
            return int(case["exit_code"])
    folder, moment = Path(os.environ["REPLAY_FOLDER"]), os.environ["REPLAY_MOMENT"]
    if words[0] == "logs":
        return logs(folder / f"logs-previous-{moment}.txt", words)
    if words[:2] == ["get", "--raw"]:
        sys.stdout.write((folder.parent.parent / "cluster" / "metrics-cadvisor.txt").read_text())
        return 0
    path = folder / f"{words[1]}-{moment}.json"
    sys.stdout.write(path.read_text() if path.exists() else EMPTY)
    return 0


def logs(path: Path, words: list[str]) -> int:
    pod, container = words[1], words[words.index("-c") + 1]
    told = f"### kubectl logs --previous {pod} -c {container}  (exit code "
    for block in path.read_text().split("### kubectl logs")[1:]:
        header, _, text = block.partition("\n")
        if not ("### kubectl logs" + header).startswith(told) or "--previous" not in words:
            continue
        failed = "exit code 0" not in header
        (sys.stderr if failed else sys.stdout).write(text)
        return int(failed)
    sys.stderr.write(f'Error from server (BadRequest): previous terminated container "{container}" not found\n')
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
