"""Writes a patch of a container into the manifest's own text, or prints it for kubectl and kustomize."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import yaml

from unstall.errors import BadManifest
from unstall.kubelet.documents import LOADER, read_documents
from unstall.kubelet.manifests import POD_FIELDS
from unstall.model import Edit
from unstall.probe.workload import Workload, at
from unstall.probe.yaml_edits import Place, Unsafe, edits, merged, node_at, uses
from unstall.source.edits import apply, ordered, read_file, write_file

Patch = Mapping[str, Any]
"""What to change in a container, see `unstall.probe.yaml_edits`."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many lines were changed, added or removed for one container, or why it was left as it is."""

    lines: int = 0
    refused: str = ""


def rewrite(path: str, changes: Sequence[tuple[Workload, Patch]], write: bool = True) -> list[Rewritten]:
    """Write patches into the one file that their containers stand in: each is made, or refused and left out. Without
    ``write`` nothing is written: what would be done is told.

    Raises:
        BadInput: the file cannot be read or written.
    """
    if path == "<stdin>":
        return [Rewritten(refused="it came from standard input") for _ in changes]
    file = read_file(Path(path))
    text, done = rewritten(file.text, changes)
    if write and text != file.text:
        write_file(Path(), file, text)
    return done


def rewritten(text: str, changes: Sequence[tuple[Workload, Patch]]) -> tuple[str, list[Rewritten]]:
    """The text with the patches written into it, and what became of each. Read again, it means just what was intended:
    what would not is refused."""
    try:
        name = changes[0][0].spec.path
        before = [one.data for one in read_documents(text, name)]
        nodes = [node for node in yaml.compose_all(text, Loader=LOADER) if node is not None]
    except BadManifest:
        return text, [Rewritten(refused=CHANGED) for _ in changes]
    plans: list[list[Edit] | Rewritten] = []
    places: dict[int, Place] = {}
    for workload, patch in changes:
        try:
            plans.append(_plan(text, workload, patch, nodes, before, places))
        except Unsafe as reason:
            plans.append(Rewritten(refused=str(reason)))
        except (IndexError, KeyError, TypeError, ValueError):
            plans.append(Rewritten(refused=CHANGED))
    made = [(change, plan) for change, plan in zip(changes, plans, strict=True) if isinstance(plan, list)]
    whole = _meant(text, made, before)
    if whole is None and len(changes) > 1:
        return _one_by_one(text, changes)
    if whole is None:
        return text, [plan if isinstance(plan, Rewritten) else Rewritten(refused=MEANS_ELSE) for plan in plans]
    return whole, [p if isinstance(p, Rewritten) else Rewritten(lines_changed(text, p)) for p in plans]


CHANGED = "it is not what it was when it was read"
MEANS_ELSE = "the edited text would not mean what was intended"


def _plan(
    text: str,
    workload: Workload,
    patch: Patch,
    nodes: Sequence[yaml.Node],
    before: Sequence[Any],
    places: dict[int, Place],
) -> list[Edit]:
    number, field = workload.number, workload.manifest.field
    container = at(before[number], field)
    if container != workload.container:
        raise Unsafe(CHANGED)
    root = nodes[number]
    if number not in places:
        places[number] = Place(workload.spec.path, text, uses(root))
    place = places[number]
    return list(edits(place, node_at(place, root, field), patch, container))


def _meant(text: str, made: Sequence[tuple[tuple[Workload, Patch], list[Edit]]], before: list[Any]) -> str | None:
    """The edited text, if it means the patched containers and is else what it was."""
    try:
        changed = apply(text, (edit for _, plan in made for edit in plan))
        after = [one.data for one in read_documents(changed, "")]
        wanted = copy.deepcopy(before)
        for (workload, patch), _ in made:
            container = at(wanted[workload.number], workload.manifest.field)
            patched = merged(container, patch)
            container.clear()
            container.update(patched)
    except (BadManifest, IndexError, KeyError, TypeError, ValueError):
        return None
    return changed if after == wanted else None


def _one_by_one(text: str, changes: Sequence[tuple[Workload, Patch]]) -> tuple[str, list[Rewritten]]:
    """Where all changes together do not mean what they should, leave out the one that is to blame."""
    done: list[Rewritten] = []
    for change in changes:
        text, [one] = rewritten(text, [change])
        done.append(one)
    return text, done


def lines_changed(text: str, made: Sequence[Edit]) -> int:
    """How many lines were added, removed or written in another way."""
    regions: list[tuple[int, int, list[Edit]]] = []
    for edit in ordered(made):
        start = max(text.rfind("\n", 0, edit.start), text.rfind("\r", 0, edit.start)) + 1
        found = _BREAK.search(text, edit.end)
        end = found.start() if found else len(text)
        if regions and start <= regions[-1][1]:
            first = regions.pop()
            regions.append((first[0], max(end, first[1]), [*first[2], edit]))
        else:
            regions.append((start, end, [edit]))
    return sum(_differing(text, start, end, inside) for start, end, inside in regions)


_BREAK = re.compile(r"\r|\n")


def _differing(text: str, start: int, end: int, made: Sequence[Edit]) -> int:
    moved = [Edit(one.path, one.start - start, one.end - start, one.text) for one in made]
    old = text[start:end]
    steps = SequenceMatcher(None, old.splitlines(), apply(old, moved).splitlines(), autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in steps if kind != "equal")


def as_patch(workload: Workload, change: Patch) -> str:
    """The same change as a strategic-merge patch, for kubectl patch or kustomize."""
    manifest = workload.manifest
    root: Any = workload.document.data
    container = {"name": workload.spec.container, **change}
    inner: dict[str, Any] = {"initContainers" if manifest.sidecar else "containers": [container]}
    for name in reversed(POD_FIELDS[manifest.kind].split(".")):
        inner = {name: inner}
    owner = at(root, manifest.field.partition(POD_FIELDS[manifest.kind])[0].rstrip(".")) if root else {}
    metadata = {"name": manifest.name}
    if workload.spec.namespace != "default":
        metadata["namespace"] = workload.spec.namespace
    whole = {"apiVersion": owner.get("apiVersion", "apps/v1"), "kind": manifest.kind, "metadata": metadata, **inner}
    return "---\n" + yaml.safe_dump(whole, sort_keys=False, width=1000)
