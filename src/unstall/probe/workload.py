"""The containers of manifests with what is written of them beside their probes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unstall.kubelet.documents import Document, read_documents
from unstall.kubelet.manifests import PodManifest, no_pod, pods_in, refuse, texts
from unstall.kubelet.spec import PodSpec


@dataclass(frozen=True, slots=True)
class Workload:
    """One container of a manifest. ``container`` and ``pod`` are the objects as written, without defaults;
    ``number`` counts the documents of its file from 0, empty ones left out."""

    manifest: PodManifest
    document: Document
    container: dict[str, Any]
    pod: dict[str, Any]
    number: int = 0

    @property
    def spec(self) -> PodSpec:
        """Its probes and times, after Kubernetes' defaults."""
        return self.manifest.spec

    @property
    def name(self) -> str:
        """What a person calls it: ``deployment/web``."""
        return f"{self.manifest.kind.lower()}/{self.manifest.name}"

    @property
    def command(self) -> list[str]:
        """Command and arguments as far as the manifest tells."""
        words = [*(self.container.get("command") or []), *(self.container.get("args") or [])]
        return [str(word) for word in words]

    def written(self, field: str) -> bool:
        """Whether a field of the container stands in the manifest."""
        return f"{self.manifest.field}.{field}" in self.document.lines

    def line(self, field: str = "") -> int:
        """The line of a field of the container, or of what it would stand in."""
        return self.document.line_of(f"{self.manifest.field}.{field}" if field else self.manifest.field)


def read_workloads(sources: Sequence[Path | str]) -> list[Workload]:
    """Every container of the files, folders or ``-``.

    Raises:
        BadManifest: a file cannot be read, is not YAML, or Kubernetes would refuse it.
    """
    found: list[Workload] = []
    kinds: list[str] = []
    for path, text in texts(sources):
        inside, seen = workloads_in(text, path)
        found += inside
        kinds += seen
    if not found:
        raise no_pod(" and ".join(map(str, sources)), kinds)
    return found


def workloads_in(text: str, path: str) -> tuple[list[Workload], list[str]]:
    """Every container of one text, and the kinds of its objects. Raises `BadManifest`."""
    pods, problems, kinds = pods_in(text, path)
    refuse(problems)
    documents = read_documents(text, path) if pods else []
    # No two documents begin on the same line.
    numbers = {next(iter(one.lines.items())): i for i, one in enumerate(documents) if one.lines}
    found = []
    for pod in pods:
        number = numbers[next(iter(pod.lines.items()))]
        data, place = documents[number].data, pod.field.rpartition(".")[0]
        found.append(Workload(pod, documents[number], at(data, pod.field), at(data, place), number))
    return found, kinds


def at(data: Any, path: str) -> dict[str, Any]:
    """The mapping at a path such as ``spec.containers[0]``."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        data = data[name] if name else data[int(index)]
    return data if isinstance(data, dict) else {}
