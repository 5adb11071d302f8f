"""Sets a liveness probe's numbers in a manifest's text, touching nothing else."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unstall.errors import BadManifest
from unstall.kubelet.manifests import POD_FIELDS
from unstall.model import Edit, ProbeSpec
from unstall.probe.workload import Workload, at


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many lines were changed, or why the file was left as it is."""

    lines: int = 0
    refused: str = ""


def rewrite(workload: Workload, probe: ProbeSpec) -> Rewritten:
    """Write the probe's timeout and failure threshold into the file, or refuse and leave it untouched.

    Raises:
        BadManifest: the file cannot be read or written.
    """
    path = Path(workload.spec.path)
    if workload.spec.path == "<stdin>":
        return Rewritten(refused="it came from standard input")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(f"{path} cannot be read: {error}") from None
    try:
        changed = rewritten(text, workload, probe)
    except Unsafe as reason:
        return Rewritten(refused=str(reason))
    try:
        path.write_bytes(changed.encode("utf-8"))
    except OSError as error:
        raise BadManifest(f"{path} cannot be written: {error.strerror}") from None
    before, after = text.splitlines(), changed.splitlines()
    return Rewritten(len(after) - len(before) + sum(a != b for a, b in zip(before, _kept(before, after), strict=True)))


def _kept(before: list[str], after: list[str]) -> list[str]:
    """The lines of the new text that stand for those of the old: inserted ones left out."""
    kept, rest = [], iter(after)
    extra = len(after) - len(before)
    for line in before:
        candidate = next(rest)
        while extra and candidate != line and _SETTING.match(candidate) and not _SETTING.match(line):
            candidate, extra = next(rest), extra - 1
        kept.append(candidate)
    return kept


_SETTING = re.compile(r"\s*(?:- )?(?:timeoutSeconds|failureThreshold):")


class Unsafe(Exception):
    """Why a text cannot be edited safely."""


def rewritten(text: str, workload: Workload, probe: ProbeSpec) -> str:
    """The text with the probe's numbers set. Read again, it must mean just what was intended.

    Raises:
        Unsafe: it shares the probe with another place, or would not mean what was intended.
    """
    index, node = _probe_node(text, workload)
    wanted = {"timeoutSeconds": probe.timeout_s, "failureThreshold": probe.failure_threshold}
    edits = list(_edits(text, node, wanted, workload.spec.path))
    changed = text
    for edit in sorted(edits, key=lambda one: (one.start, one.end), reverse=True):
        changed = changed[: edit.start] + edit.text + changed[edit.end :]
    intended = list(yaml.safe_load_all(text))
    target = intended[index] = copy.deepcopy(intended[index])
    at(target, f"{workload.manifest.field}.livenessProbe").update(wanted)
    try:
        meant = list(yaml.safe_load_all(changed))
    except yaml.YAMLError:
        meant = None
    if meant != intended:
        raise Unsafe("the edited text would not mean what was intended")
    return changed


def _probe_node(text: str, workload: Workload) -> tuple[int, yaml.MappingNode]:
    """The livenessProbe's node and the number of its document."""
    documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    line = workload.line()
    for index, root in enumerate(documents):
        if root is None or not root.start_mark.line < line <= root.end_mark.line + 1:
            continue
        node: Any = root
        for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", workload.manifest.field + ".livenessProbe"):
            node = _child(node, name) if name else node.value[int(number)]
        if not isinstance(node, yaml.MappingNode):
            break
        if _times_used(root, node) > 1:
            raise Unsafe("the probe is shared by an anchor, so a change would reach other places")
        return index, node
    raise Unsafe("the probe was not found where it was read")


def _child(node: Any, name: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise Unsafe("the probe was not found where it was read")
    for key, value in node.value:
        if key.value == name:
            return value
    raise Unsafe(f"{name} is merged in from an anchor, so a change would reach other places")


def _times_used(root: Any, wanted: Any) -> int:
    """How often a node, or one above it, is reached from the root: more than once means an alias."""
    used = 0
    stack = [root]
    while stack:
        node = stack.pop()
        if node is wanted:
            used += 1
        elif isinstance(node, yaml.MappingNode):
            stack += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value
    return used


def _edits(text: str, node: yaml.MappingNode, wanted: dict[str, int], path: str) -> Iterator[Edit]:
    present = {key.value: value for key, value in node.value}
    if "<<" in present:
        raise Unsafe("the probe merges an anchor (<<), so what it sets cannot be told from what it inherits")
    missing = []
    for name, number in wanted.items():
        value = present.get(name)
        if value is None:
            missing.append(f"{name}: {number}")
        elif not isinstance(value, yaml.ScalarNode) or not value.value.isdigit() or value.style is not None:
            raise Unsafe(f"{name} is not a plain number")
        elif text[value.start_mark.index : value.end_mark.index] != value.value:
            raise Unsafe(f"{name} is written in a way that is not understood")
        elif int(value.value) != number:
            yield Edit(path, value.start_mark.index, value.end_mark.index, str(number))
    if not missing:
        return
    if node.flow_style:
        yield Edit(path, node.start_mark.index + 1, node.start_mark.index + 1, ", ".join(missing) + ", ")
        return
    first = node.value[0][0].start_mark
    ending = "\r\n" if "\r\n" in text else "\n"
    indent = text[first.index - first.column : first.index]
    if indent.strip():
        raise Unsafe("the probe begins on a line with something else")
    yield Edit(path, first.index, first.index, "".join(line + ending + indent for line in missing))


def patch(workload: Workload, probe: ProbeSpec) -> str:
    """The suggestion as a strategic-merge patch, for kubectl patch or kustomize."""
    manifest = workload.manifest
    root: Any = workload.document.data
    container = {
        "name": workload.spec.container,
        "livenessProbe": {"timeoutSeconds": probe.timeout_s, "failureThreshold": probe.failure_threshold},
    }
    inner: dict[str, Any] = {"initContainers" if manifest.sidecar else "containers": [container]}
    for name in reversed(POD_FIELDS[manifest.kind].split(".")):
        inner = {name: inner}
    owner = at(root, manifest.field.partition(POD_FIELDS[manifest.kind])[0].rstrip(".")) if root else {}
    metadata = {"name": manifest.name}
    if workload.spec.namespace != "default":
        metadata["namespace"] = workload.spec.namespace
    whole = {"apiVersion": owner.get("apiVersion", "apps/v1"), "kind": manifest.kind, "metadata": metadata, **inner}
    return "---\n" + yaml.safe_dump(whole, sort_keys=False)
