"""Checks `unstall probe --write` on manifests of other projects: ``python scripts/manifest_edits.py FOLDER...``.

Each folder holds one project's manifests. Of every file with a pod in it, a copy is rewritten, once with the suggestion
for a block of 45 s and once with ``--with-watch``; then the copy is compared with the original by means that share no
code with the rewriting: PyYAML's own loader, a walk over both results that lists every path that differs, and difflib
over the lines. Exits with 1 where anything differs that was not asked for, prints the counts as a table.
"""

from __future__ import annotations

import difflib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from unstall.errors import BadInput
from unstall.probe.forecast import History
from unstall.probe.rewrite import rewrite
from unstall.probe.suggestion import CannotWrap, suggestion, with_watch
from unstall.probe.workload import Workload, read_workloads

BLOCK_S = 45.0
SET = ("timeoutSeconds", "failureThreshold", "startupProbe", "terminationMessagePolicy")
MOVED = (*SET, "command", "ports", "httpGet", "tcpSocket", "exec", "grpc")
COLUMNS = ("files", "no pod or template", "containers", "changed", "refused", "lines", "wrong")


def main(folders: list[str]) -> int:
    """Check each folder; one row of the table for each, and one for all."""
    print(f"| manifests of | change | {' | '.join(COLUMNS)} |")
    print("|" + "---|" * (len(COLUMNS) + 2))
    wrong = 0
    whole: dict[str, Counter[str]] = {"suggestion": Counter(), "--with-watch": Counter()}
    for folder in map(Path, folders):
        for change, sums in whole.items():
            counts = Counter[str]()
            for file in sorted(one for one in folder.rglob("*") if one.suffix in (".yaml", ".yml", ".json")):
                check(file, change, counts)
            sums += counts
            wrong += counts["wrong"]
            print(row(folder.name.replace("+", "/"), change, counts))
    for change, sums in whole.items():
        print(row("**all**", change, sums))
    return 1 if wrong else 0


def row(name: str, change: str, counts: Counter[str]) -> str:
    return f"| {name} | {change} | {' | '.join(str(counts[column]) for column in COLUMNS)} |"


def check(file: Path, change: str, counts: Counter[str]) -> None:
    """Rewrite a copy of one file and compare."""
    if not file.is_file():
        return
    counts["files"] += 1
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        try:
            workloads = read_workloads([copy])
        except BadInput:
            counts["no pod or template"] += 1
            return
        wanted = [(one, patch) for one in workloads if one.spec.probes and (patch := patch_of(one, change))]
        counts["containers"] += len(wanted)
        if not wanted:
            return
        before = copy.read_bytes()
        done = rewrite(str(copy), wanted)
        after = copy.read_bytes()
        counts["refused"] += sum(bool(one.refused) for one in done)
        counts["changed"] += sum(not one.refused for one in done)
        counts["lines"] += sum(one.lines for one in done)
        for problem in problems(before, after, [w for w, d in zip(wanted, done, strict=True) if not d.refused], done):
            counts["wrong"] += 1
            print(f"WRONG {file} {change}: {problem}", file=sys.stderr)


def patch_of(workload: Workload, change: str) -> dict[str, Any]:
    history = History((BLOCK_S,))
    try:
        return (suggestion(workload, history) if change == "suggestion" else with_watch(workload, history)).patch
    except CannotWrap:
        return {}


def problems(
    before: bytes, after: bytes, made: list[tuple[Workload, dict[str, Any]]], done: list[Any]
) -> Iterator[str]:
    """What differs and was not asked for."""
    old, new = (list(yaml.load_all(text, Loader=Plain)) for text in (before, after))
    if len(old) != len(new):
        yield "another number of documents"
        return
    fields = [workload.manifest.field for workload, _ in made]
    for a, b in zip(old, new, strict=True):
        for path in differing(a, b, ""):
            inside = next((path[len(field) + 1 :] for field in fields if path.startswith(field + ".")), None)
            if inside is None or not any(part.partition("[")[0] in MOVED for part in inside.split(".")):
                yield f"{path} differs"
    for workload, patch in made:
        container = at(new, workload)
        probe, wanted = container.get("livenessProbe", {}), patch.get("livenessProbe", {})
        for name, value in wanted.items():
            if not isinstance(value, dict) and probe.get(name) != value:
                yield f"{workload.manifest.field}: {name} is {probe.get(name)!r}, not {value!r}"
        for name in ("terminationMessagePolicy", "startupProbe", "command"):
            if name in patch and not isinstance(patch[name], dict) and container.get(name) != patch[name]:
                yield f"{workload.manifest.field}: {name} is {container.get(name)!r}"
    lines = lines_differing(before, after)
    if lines != sum(one.lines for one in done):
        yield f"{lines} lines differ, {sum(one.lines for one in done)} were told"
    if before.count(b"\r\n") == before.count(b"\n") > 0 and after.count(b"\r\n") != after.count(b"\n"):
        yield "line ends are mixed"
    if before.endswith(b"\n") != after.endswith(b"\n"):
        yield "the end of the file differs"


def lines_differing(before: bytes, after: bytes) -> int:
    steps = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in steps if kind != "equal")


def at(documents: list[Any], workload: Workload) -> Any:
    value = [one for one in documents if one is not None][workload.number]
    for name in workload.manifest.field.replace("[", ".[").split("."):
        value = value[int(name[1:-1])] if name.startswith("[") else value[name]
    return value


def differing(a: Any, b: Any, path: str) -> Iterator[str]:
    """The paths at which two values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in a or key not in b:
                yield inner
            else:
                yield from differing(a[key], b[key], inner)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differing(one, other, f"{path}[{i}]")
    elif a != b or type(a) is not type(b):
        yield path


class Plain(yaml.CSafeLoader):  # type: ignore[misc]
    """Reads tags it does not know as their plain value."""


Plain.add_multi_constructor("", lambda loader, suffix, node: str(node.value))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
