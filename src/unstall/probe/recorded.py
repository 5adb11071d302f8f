"""Reads a recorded folder in place of a cluster: ``pods-K.json``, ``events-K.json`` and their kin."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from unstall.errors import BadFile, BadInput
from unstall.probe import cluster
from unstall.probe.cluster import Snapshot, Throttling


def moments(folder: Path) -> list[str]:
    """The moments recorded in a folder: numbers in order, then words."""
    found = [path.name.removeprefix("pods-").removesuffix(".json") for path in folder.glob("pods-*.json")]
    return sorted(found, key=lambda moment: (not moment.isdigit(), int(moment) if moment.isdigit() else 0, moment))


def look(folder: Path, moment: str | None) -> Snapshot:
    """Read one moment of a recorded folder; None means the last one that is a number.

    Raises:
        BadInput: there is no such folder or moment; the hint lists the moments there are.
        BadFile: a file in it is damaged.
    """
    if not folder.is_dir():
        raise BadInput(f"--from {folder}: there is no such folder")
    known = moments(folder)
    if not known:
        raise BadInput(
            f"--from {folder}: there is no pods-K.json in it",
            "name a folder with pods-K.json and events-K.json as kubectl get ... -o json prints them",
        )
    if moment is None:
        moment = next((name for name in reversed(known) if name.isdigit()), known[-1])
    if moment not in known:
        raise BadInput(f"--moment {moment}: {folder} has no pods-{moment}.json", f"moments: {', '.join(known)}")
    gaps: list[str] = []
    pods = _read(folder / f"pods-{moment}.json")
    events = _optional(folder / f"events-{moment}.json", "events", gaps)
    revisions = folder / f"replicasets-{moment}.json"
    sets = _optional(revisions, "revisions", gaps) if revisions.exists() else None
    logs, failures = _logs(folder / f"logs-previous-{moment}.txt")
    gaps += [f"logs: {line}" for line in sorted(failures)]
    read_pods = cluster.read_pods(pods)
    return Snapshot(
        read_pods,
        cluster.read_events(events or {}),
        events is not None,
        {(pod.namespace, pod.name, c): logs[pod.name, c] for pod in read_pods for c in _named(logs, pod.name)},
        throttling=_throttling(folder),
        rollouts=cluster.read_rollouts(sets or {}),
        gaps=tuple(gaps),
    )


def _named(logs: dict[tuple[str, str], str], pod: str) -> list[str]:
    return [container for name, container in logs if name == pod]


def _read(path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BadFile(f"{path} is not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise BadFile(f"{path} should hold one JSON object, as kubectl get -o json prints it")
    return answer


def _optional(path: Path, what: str, gaps: list[str]) -> dict[str, Any] | None:
    """A file without which the rest still tells something; why it could not be read goes to the gaps."""
    if not path.exists():
        gaps.append(f"{what}: there is no {path.name}")
        return None
    try:
        return _read(path)
    except BadFile as error:
        gaps.append(f"{what}: {path.name}: {error.message}")
        return None


_HEADER = re.compile(r"^### kubectl logs --previous (\S+) -c (\S+)\s+\(exit code (\d+)\)$")


def _logs(path: Path) -> tuple[dict[tuple[str, str], str], set[str]]:
    """Logs by (pod, container), and why others could not be read."""
    logs: dict[tuple[str, str], str] = {}
    failures: set[str] = set()
    if not path.exists():
        return logs, {f"there is no {path.name}"}
    key, exit_code, lines = ("", ""), 1, list[str]()
    for line in [*path.read_text(encoding="utf-8", errors="replace").splitlines(), "### end"]:
        header = _HEADER.match(line)
        if header is None and line != "### end":
            lines.append(line)
            continue
        if key[0] and exit_code == 0:
            logs[key] = "\n".join(lines) + "\n"
        elif key[0] and not any("previous terminated container" in text for text in lines):
            failures.update(lines[-1:])
        if header:
            key, exit_code, lines = (header[1], header[2]), int(header[3]), []
    return logs, failures


def _throttling(folder: Path) -> dict[tuple[str, str], Throttling]:
    # The recorder keeps the node's counters once for all scenarios, beside the folder of scenarios.
    for place in (folder, folder.resolve().parent.parent / "cluster"):
        path = place / "metrics-cadvisor.txt"
        if path.is_file():
            return cluster.read_throttling(path.read_text(encoding="utf-8", errors="replace"))
    return {}
