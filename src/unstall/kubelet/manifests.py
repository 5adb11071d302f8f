"""Finds the containers and their probes in Kubernetes manifests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as with_default
from pathlib import Path
from typing import Any

from unstall.errors import BadManifest
from unstall.kubelet.decoding import decode_errors, unknown_fields
from unstall.kubelet.defaulting import default_pod
from unstall.kubelet.documents import Document, read_documents
from unstall.kubelet.spec import PodSpec, container_spec
from unstall.kubelet.validation import validate_pod
from unstall.units import plural

# Where the pod's spec stands in each kind of object.
POD_FIELDS = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "ReplicationController": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    "PodTemplate": "template.spec",
}
ALWAYS_ONLY = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
JOBS = ("Job", "CronJob")
SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class PodManifest:
    """One container of a manifest.

    ``kind`` and ``name`` are the object's; ``field`` is the container's path in it; ``lines`` has the line of
    every field of its file's document by its path; ``containers`` are the names of the pod's containers.
    """

    spec: PodSpec
    kind: str
    name: str
    field: str
    containers: tuple[str, ...]
    sidecar: bool = False
    lines: Mapping[str, int] = with_default(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse a manifest."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def read_pods(sources: Sequence[Path | str] | Path | str) -> list[PodManifest]:
    """Every container in the files; ``-`` is standard input, a folder stands for the YAML and JSON files in it.

    Raises:
        BadManifest: a file cannot be read, is not YAML, or Kubernetes would refuse it: all reasons at once.
    """
    if isinstance(sources, (str, Path)):
        sources = [sources]
    found: list[PodManifest] = []
    problems: list[Problem] = []
    kinds: list[str] = []
    for path, text in texts(sources):
        pods, wrong, seen = pods_in(text, path)
        found += pods
        problems += wrong
        kinds += seen
    refuse(problems)
    if not found:
        raise no_pod(" and ".join(map(str, sources)), kinds)
    return found


def read_text(text: str, name: str = "<text>") -> list[PodManifest]:
    """Every container in a text; ``name`` stands in the errors. Raises `BadManifest`."""
    pods, problems, kinds = pods_in(text, name)
    refuse(problems)
    if not pods:
        raise no_pod(name, kinds)
    return pods


def no_pod(path: str, kinds: Sequence[str]) -> BadManifest:
    """Nothing in the files makes pods: say what they hold, and what they should."""
    held = f"only {', '.join(dict.fromkeys(kinds))}" if kinds else "nothing"
    return BadManifest(f"{path} has no pod in it: {held}", f"give a manifest of one of: {', '.join(POD_FIELDS)}")


def pod_spec(path: Path | str, container: str | None = None) -> PodSpec:
    """The container whose probes are meant: the one named, else the only one that has probes.

    Raises:
        BadManifest: none is left, or more than one; the message lists them.
    """
    return choose(read_pods(path), str(path), container)


def choose(pods: Sequence[PodManifest], path: str, container: str | None = None) -> PodSpec:
    """The one container meant by ``container`` (``app`` or ``web/app``), or the only one with probes."""
    if container is None:
        chosen = [pod for pod in pods if pod.spec.probes]
        if not chosen:
            raise BadManifest(
                f"{path}: no container has a probe: {listed(pods)}", "add a livenessProbe, or leave the file out"
            )
    else:
        chosen = [pod for pod in pods if container in (pod.spec.container, f"{pod.name}/{pod.spec.container}")]
        if not chosen:
            raise BadManifest(f"{path} has no container {container!r}", f"it has: {listed(pods)}")
    if len(chosen) > 1:
        raise BadManifest(
            f"{path} has {plural(len(chosen), 'container')} that could be meant: {listed(chosen)}",
            f"name one with --container, as in: --container {chosen[0].name}/{chosen[0].spec.container}",
        )
    if not chosen[0].spec.probes:
        raise BadManifest(f"{path}:{chosen[0].spec.line}: container {chosen[0].spec.container!r} has no probe")
    return chosen[0].spec


def listed(pods: Sequence[PodManifest]) -> str:
    """Containers as a person tells them apart."""
    return ", ".join(f"{pod.name}/{pod.spec.container} (line {pod.spec.line})" for pod in pods)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one error with all problems, if there are any."""
    if not problems:
        return
    shown = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    what = plural(len(problems), "error") + " in the manifest"
    raise BadManifest(shown[0] if len(problems) == 1 else "\n  ".join([f"{what}:", *shown]))


def texts(sources: Sequence[Path | str]) -> Iterator[tuple[str, str]]:
    """The files named, each with its text."""
    for source in sources:
        if str(source) == "-":
            try:
                text = sys.stdin.read()
                text.encode("utf-8")
            except UnicodeError:
                raise BadManifest("standard input is not text in UTF-8") from None
            yield "<stdin>", text
            continue
        path = Path(source)
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
            if not files:
                raise BadManifest(f"{path} has no .yaml, .yml or .json file in it")
        for file in files:
            try:
                yield str(file), file.read_text(encoding="utf-8-sig")
            except OSError as error:
                raise BadManifest(f"{file} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise BadManifest(f"{file} is not text in UTF-8") from None


def pods_in(text: str, path: str) -> tuple[list[PodManifest], list[Problem], list[str]]:
    """The containers of one text, all reasons to refuse it, and the kinds of its objects."""
    found: list[PodManifest] = []
    problems: list[Problem] = []
    kinds: list[str] = []
    for document in read_documents(text, path):
        for data, prefix in objects(document.data, ""):
            pods, wrong = pods_of(data, prefix, document, path)
            found += pods
            problems += wrong
            kinds += [str(data["kind"])] if isinstance(data, dict) and "kind" in data else []
    return found, problems, kinds


def objects(data: Any, prefix: str) -> Iterator[tuple[Any, str]]:
    """The objects of a document: itself, or what a List holds."""
    items = data.get("items") if isinstance(data, dict) else None
    if isinstance(items, list) and str(data.get("kind", "")).endswith("List"):
        for index, item in enumerate(items):
            yield from objects(item, f"{prefix}items[{index}].")
    else:
        yield data, prefix


def pods_of(data: Any, prefix: str, document: Document, path: str) -> tuple[list[PodManifest], list[Problem]]:
    """The containers of one object. Objects of kinds that make no pods have none."""

    def problem(place: str, text: str) -> Problem:
        return Problem(path, document.line_of(prefix + place), text)

    if not isinstance(data, dict):
        return [], [problem("", "this is no Kubernetes object: it must be a mapping with apiVersion and kind")]
    kind = data.get("kind")
    if not isinstance(kind, str) or not kind:
        return [], [problem("", "kind is missing: every object needs apiVersion and kind")]
    if kind not in POD_FIELDS:
        near = next((known for known in POD_FIELDS if known.lower() == kind.lower()), None)
        return [], [problem("kind", f"unknown kind {kind!r}: Kubernetes writes it {near!r}")] if near else []
    place = POD_FIELDS[kind]
    pod, missing = inner(data, place)
    if missing is not None:
        return [], [problem(missing, f"{missing}: {kind} has no object there")]
    wrong = decode_errors(pod, place)
    if wrong:
        return [], [problem(error.field, f"{error.message}: {error.hint}") for error in wrong]
    pod = default_pod(pod)
    unknown = [problem(error.field, f"strict decoding error: {error.message}") for error in unknown_fields(pod, place)]
    texts = [(error.field, error.message) for error in validate_pod(pod, place)] + restart_problems(kind, pod, place)
    refused = unknown + [problem(field, text) for field, text in texts]
    if refused:
        return [], refused
    return containers_of(data, kind, place, pod, prefix, document, path), []


def inner(data: dict[str, Any], place: str) -> tuple[dict[str, Any], str | None]:
    """The object at a dotted path, or the path of the first part that is not one."""
    walked: list[str] = []
    for name in place.split("."):
        walked.append(name)
        below = data.get(name)
        if not isinstance(below, dict):
            return {}, ".".join(walked)
        data = below
    return data, None


def restart_problems(kind: str, pod: dict[str, Any], place: str) -> list[tuple[str, str]]:
    """The restart policies that a kind of workload does not allow."""
    policy, field = pod["restartPolicy"], f"{place}.restartPolicy"
    if kind in ALWAYS_ONLY and policy in ("OnFailure", "Never"):
        return [(field, f'{field}: Unsupported value: "{policy}": supported values: "Always"')]
    if kind in JOBS and policy == "Always":
        return [(field, f'{field}: Required value: valid values: "OnFailure", "Never"')]
    return []


def containers_of(
    data: dict[str, Any], kind: str, place: str, pod: dict[str, Any], prefix: str, document: Document, path: str
) -> list[PodManifest]:
    """The containers that may have probes: regular ones, and sidecars."""
    metadata = data.get("metadata") if isinstance(data.get("metadata"), dict) else {}
    assert metadata is not None
    name = str(metadata.get("name") or metadata.get("generateName") or kind.lower())
    namespace = str(metadata.get("namespace") or "default")
    sidecars = [
        entry for entry in enumerate(pod.get("initContainers") or []) if entry[1].get("restartPolicy") == "Always"
    ]
    names = tuple(container["name"] for container in pod["containers"])
    found = []
    for list_name, entries in (("containers", list(enumerate(pod["containers"]))), ("initContainers", sidecars)):
        for index, container in entries:
            field = f"{prefix}{place}.{list_name}[{index}]"
            spec = container_spec(pod, container, name, namespace)
            spec = replace(spec, path=path, line=document.line_of(field))
            sidecar = list_name == "initContainers"
            found.append(PodManifest(spec, kind, name, field, names, sidecar, document.lines))
    return found
