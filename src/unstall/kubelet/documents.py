"""YAML text as plain data, with the line of every field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from unstall.errors import BadManifest

# Kubernetes takes at most 3 MiB in one request; a file may hold several objects.
SIZE_LIMIT_BYTES = 16 << 20
# Aliases are expanded where they stand, so a few lines can stand for millions of values.
VALUE_LIMIT = 500_000
DEPTH_LIMIT = 60

# The C parser where PyYAML was built with it: ten times as fast.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its data, and the line (from 1) of each field by its path, as ``spec.containers[0].name``."""

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    line: int = 1

    def line_of(self, path: str) -> int:
        """The line of a field, or of the nearest one above it that is written down."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line


def read_documents(text: str, name: str) -> list[Document]:
    """Every document of a YAML (or JSON) text that is not empty.

    Raises:
        BadManifest: not YAML, a key twice in one mapping, or too much of it. Names ``name`` and the line.
    """
    if len(text) > SIZE_LIMIT_BYTES:
        raise BadManifest(f"{name} is larger than {SIZE_LIMIT_BYTES >> 20} MiB", "give the manifest of one workload")
    try:
        check_depth(text, name)
        nodes = list(yaml.compose_all(text, Loader=LOADER))
    except yaml.MarkedYAMLError as error:
        raise not_yaml(error, text, name) from None
    except yaml.YAMLError as error:
        raise BadManifest(f"{name} is not YAML: {error}") from None
    reader = Reader(name)
    return [reader.document(node) for node in nodes if node is not None]


def check_depth(text: str, name: str) -> None:
    """Refuse what is nested so deeply that composing it would overrun the C parser's stack."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                number = event.start_mark.line + 1 if event.start_mark else 1
                raise BadManifest(f"{name}:{number}: nested too deeply to be a manifest")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def not_yaml(error: yaml.MarkedYAMLError, text: str, name: str) -> BadManifest:
    """The parser's error, said so that one knows what to change."""
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.splitlines()
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    where = f"{name}:{number}"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return BadManifest(f"{where}: this line is indented with a tab", "YAML is indented with spaces only")
    if "{{" in line or any(entry.lstrip().startswith("{{") for entry in lines):
        return BadManifest(
            f"{where}: this is a template, not YAML yet",
            "render it first, as with: helm template CHART > rendered.yaml",
        )
    problem = error.problem or "it does not parse"
    return BadManifest(f"{where}: not YAML: {problem}", f"the line reads: {line.strip()}" if line.strip() else None)


class Reader:
    """Turns composed nodes into data, and counts what it has made."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._made = 0
        self._scalars = LOADER("")

    def document(self, node: yaml.Node) -> Document:
        """One document."""
        lines: dict[str, int] = {}
        data = self._value(node, "", lines, 0)
        return Document(data, lines, node.start_mark.line + 1)

    def _value(self, node: yaml.Node, path: str, lines: dict[str, int], depth: int) -> Any:
        self._made += 1
        if self._made > VALUE_LIMIT:
            raise BadManifest(
                f"{self._name} stands for more than {VALUE_LIMIT:,} values", "its aliases repeat too much"
            )
        if depth > DEPTH_LIMIT:
            raise self._error(node, "nested too deeply, or an alias that contains itself")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, lines, depth)
        if isinstance(node, yaml.SequenceNode):
            values = []
            for index, inner in enumerate(node.value):
                child = f"{path}[{index}]"
                lines.setdefault(child, inner.start_mark.line + 1)
                values.append(self._value(inner, child, lines, depth + 1))
            return values
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, lines: dict[str, int], depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merges.append(value_node)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be plain text; a template with {{ }} must be rendered first")
            key = str(key_node.value)
            if key in data:
                raise self._error(key_node, f'the key "{key}" is there twice')
            child = f"{path}.{key}" if path else key
            lines[child] = key_node.start_mark.line + 1
            data[key] = self._value(value_node, child, lines, depth + 1)
        for source in (source for merge in merges for source in self._merged(merge)):
            # The mapping's own fields win over merged ones, and so do their lines.
            elsewhere: dict[str, int] = {}
            data = {**self._mapping(source, path, elsewhere, depth + 1), **data}
            for child, line in elsewhere.items():
                lines.setdefault(child, line)
        return data

    def _merged(self, node: yaml.Node) -> Iterator[yaml.MappingNode]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(source, "<< must be given a mapping")
            yield source

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary", "tag:yaml.org,2002:value"):
            return node.value
        if not node.tag.startswith("tag:yaml.org,2002:"):
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            return node.value

    def _error(self, node: yaml.Node, problem: str) -> BadManifest:
        return BadManifest(f"{self._name}:{node.start_mark.line + 1}: {problem}")
