"""The text edits that make a mapping of a YAML text mean what a patch says, touching nothing else.

A patch is plain data: a mapping is merged into the one that is there, None removes a key, a list takes the place of
the one that is there, except that ``ports`` are added to it. Nothing here is trusted: whoever applies the edits reads
the result again and compares.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from unstall.model import Edit

ADDED_TO = frozenset({"ports"})
"""Lists that a patch adds to, as Kubernetes merges them."""
AFTER = "livenessProbe"
"""New keys go below this one where it is there: that is where people look for them."""


class Unsafe(Exception):
    """Why a text cannot be edited safely."""


def merged(data: Any, patch: Mapping[str, Any]) -> Any:
    """What data means once a patch is merged into it. The data itself is left alone."""
    whole = dict(data) if isinstance(data, dict) else {}
    for name, value in patch.items():
        if value is None:
            whole.pop(name, None)
        elif isinstance(value, Mapping):
            whole[name] = merged(whole.get(name), value)
        elif name in ADDED_TO:
            whole[name] = [*(whole.get(name) or []), *value]
        else:
            whole[name] = value
    return whole


@dataclass(frozen=True, slots=True)
class Place:
    """A YAML text with its nodes: ``used`` counts how often each is reached, so that shared ones are known."""

    path: str
    text: str
    used: Counter[int]

    @property
    def newline(self) -> str:
        """The line end of the text."""
        return "\r\n" if "\r\n" in self.text else "\n"

    @property
    def is_json(self) -> bool:
        """Whether it is JSON, whatever its file is called."""
        return self.text[:1000].lstrip("\ufeff \t\r\n").startswith("{")


def node_at(place: Place, root: yaml.Node, field: str) -> yaml.MappingNode:
    """The mapping at a path such as ``spec.containers[0]``. Raises `Unsafe` where it is shared or merged in."""
    node: Any = root
    for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
        node = _child(node, name) if name else node.value[int(number)]
        own(place, node, name or field)
    if not isinstance(node, yaml.MappingNode):
        raise Unsafe(f"{field} is not a mapping")
    return node


def _child(node: Any, name: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for key, value in pairs:
        if key.value == name:
            return value
    raise Unsafe(f"{name} is merged in from an anchor, so a change would reach other places")


def own(place: Place, node: yaml.Node, name: str) -> None:
    """Raise `Unsafe` where a node is reached by more than one way."""
    if place.used[id(node)] > 1:
        raise Unsafe(f"{name} is shared by an anchor, so a change would reach other places")


def uses(root: yaml.Node) -> Counter[int]:
    """How often each node stands in another: more than once means an alias."""
    counts: Counter[int] = Counter()
    stack = [root]
    while stack:
        node = stack.pop()
        for inner in _inside(node):
            counts[id(inner)] += 1
            if counts[id(inner)] == 1:
                stack.append(inner)
    return counts


def _inside(node: Any) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def edits(place: Place, node: yaml.MappingNode, patch: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Edit]:
    """The edits for one mapping, whose meaning now is ``data``. Raises `Unsafe`."""
    pairs = {str(key.value): (key, value) for key, value in node.value}
    removed, added = [], dict[str, Any]()
    for name, value in patch.items():
        if name not in pairs:
            if name in data and (value is None or isinstance(value, Mapping) or name in ADDED_TO):
                raise Unsafe(f"{name} is merged in from an anchor, so a change would reach other places")
            if value is not None:
                added[name] = value
        elif value is None:
            removed.append(name)
        else:
            yield from _changed(place, name, pairs[name], value, data[name])
    if removed and added:
        yield _in_place_of(place, node, *pairs[removed.pop(0)], added)
    elif added:
        yield _added(place, node, pairs, added)
    for name in removed:
        yield _removed(place, node, *pairs[name])


def _changed(place: Place, name: str, pair: tuple[yaml.Node, yaml.Node], value: Any, before: Any) -> Iterator[Edit]:
    node = pair[1]
    own(place, node, name)
    if isinstance(value, Mapping):
        if not isinstance(node, yaml.MappingNode):
            raise Unsafe(f"{name} is empty")
        yield from edits(place, node, value, before)
    elif isinstance(value, list):
        if not isinstance(node, yaml.SequenceNode):
            raise Unsafe(f"{name} is empty")
        yield from _listed(place, name, node, value, before)
    elif value != before:
        yield _number(place, name, node, value)


def _number(place: Place, name: str, node: yaml.Node, value: Any) -> Edit:
    start, end = node.start_mark.index, node.end_mark.index
    if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">"):
        raise Unsafe(f"{name} is not a plain value")
    written = place.text[start:end]
    if written != node.value and not (node.style and written[:1] == node.style):
        raise Unsafe(f"{name} is written in a way that is not understood")
    return Edit(place.path, start, end, scalar(value, node.style == '"'))


# --- lists ----------------------------------------------------------------------------------------


def _listed(
    place: Place, name: str, node: yaml.SequenceNode, value: Sequence[Any], before: Sequence[Any]
) -> Iterator[Edit]:
    """A list gets more items at its end (ports), or at its beginning (a command that is wrapped)."""
    if name in ADDED_TO:
        yield _appended(place, node, value)
        return
    more = list(value[: len(value) - len(before)])
    if list(value[len(more) :]) != list(before) or not node.value:
        raise Unsafe(f"{name} would have to be written anew")
    yield _prefixed(place, node, more)


def _prefixed(place: Place, node: yaml.SequenceNode, more: Sequence[Any]) -> Edit:
    style = getattr(node.value[0], "style", None)
    words = [_word(item, style) for item in more]
    start = node.start_mark.index
    if node.flow_style:
        at = place.text.index("[", start) + 1
        return Edit(place.path, at, at, "".join(f"{word}, " for word in words))
    indent = _indent(place, start)
    return Edit(place.path, start, start, "".join(f"- {word}{place.newline}{indent}" for word in words))


def _word(item: Any, style: str | None) -> str:
    if style == "'" and isinstance(item, str) and "'" not in item:
        return f"'{item}'"
    return scalar(item, style == '"')


def _appended(place: Place, node: yaml.SequenceNode, items: Sequence[Any]) -> Edit:
    if node.flow_style:
        at = end_of(place, node.value[-1]) if node.value else place.text.index("[", node.start_mark.index) + 1
        quoted = place.is_json
        text = ", ".join(flow(item, quoted) for item in items)
        return Edit(place.path, at, at, f", {text}" if node.value else text)
    indent = _indent(place, node.start_mark.index)
    at = _line_end(place, end_of(place, node.value[-1]))
    lines = [line for item in items for line in _item(item)]
    return Edit(place.path, at, at, "".join(f"{place.newline}{indent}{line}" for line in lines))


def _item(item: Any) -> list[str]:
    if not isinstance(item, Mapping):
        return [f"- {scalar(item)}"]
    first, *rest = block(item)
    return [f"- {first}", *(f"  {line}" for line in rest)]


# --- keys -----------------------------------------------------------------------------------------


def _added(
    place: Place, node: yaml.MappingNode, pairs: Mapping[str, tuple[yaml.Node, yaml.Node]], added: Mapping[str, Any]
) -> Edit:
    if node.flow_style:
        return _added_in_flow(place, node, added)
    key, value = pairs[AFTER] if AFTER in pairs and AFTER not in added else node.value[-1]
    at = _line_end(place, _end_of_value(place, key, value))
    indent = " " * node.value[0][0].start_mark.column
    return Edit(place.path, at, at, "".join(f"{place.newline}{indent}{line}" for line in block(added)))


def _added_in_flow(place: Place, node: yaml.MappingNode, added: Mapping[str, Any]) -> Edit:
    start = place.text.index("{", node.start_mark.index) + 1
    if not node.value:
        return Edit(place.path, start, start, _flow_pairs(added, place.is_json))
    key, value = node.value[-1]
    at = _end_of_value(place, key, value)
    quoted = key.style == '"'
    indent = place.text[key.start_mark.index - key.start_mark.column : key.start_mark.index]
    if indent.strip():
        return Edit(place.path, at, at, ", " + _flow_pairs(added, quoted))
    lines = [_flow_pairs({name: inner}, quoted) for name, inner in added.items()]
    return Edit(place.path, at, at, "".join(f",{place.newline}{indent}{line}" for line in lines))


def _in_place_of(place: Place, node: yaml.MappingNode, key: Any, value: yaml.Node, added: Mapping[str, Any]) -> Edit:
    start, end = key.start_mark.index, _end_of_value(place, key, value)
    if node.flow_style:
        return Edit(place.path, start, end, _flow_pairs(added, key.style == '"'))
    indent = " " * node.value[0][0].start_mark.column
    return Edit(place.path, start, end, f"{place.newline}{indent}".join(block(added)))


def _removed(place: Place, node: yaml.MappingNode, key: yaml.Node, value: yaml.Node) -> Edit:
    start, end, text = key.start_mark.index, _end_of_value(place, key, value), place.text
    if node.flow_style:
        following = re.compile(r"\s*,\s*").match(text, end)
        if following:
            return Edit(place.path, start, following.end(), "")
        before = re.search(r"\s*,\s*$", text[:start])
        return Edit(place.path, before.start() if before else start, end, "")
    start -= len(_indent(place, start))
    end = _line_end(place, end)
    return Edit(place.path, start, end + len(place.newline) if end < len(text) else end, "")


# --- where things end -----------------------------------------------------------------------------


def _end_of_value(place: Place, key: yaml.Node, value: yaml.Node) -> int:
    if value.start_mark.index < key.start_mark.index:
        # An alias: the node is the one that bears the anchor, further up.
        alias = re.compile(r"\s*:\s*\*[^\s,\]}]+").match(place.text, key.end_mark.index)
        if alias is None:
            raise Unsafe("an alias stands where it is not understood")
        return alias.end()
    return end_of(place, value)


def end_of(place: Place, node: yaml.Node) -> int:
    """Where what is written of a node ends. Comments and blank lines below it are not its own."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        if isinstance(last, tuple):
            return _end_of_value(place, *last)
        if last.start_mark.index < node.start_mark.index:
            raise Unsafe("a list ends with an alias")
        return end_of(place, last)
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return len(place.text[:end].rstrip())
    return end


def _line_end(place: Place, at: int) -> int:
    """The end of the line, if nothing but a comment follows on it."""
    rest = re.compile(r"[ \t]*(?:[ \t]#[^\r\n]*)?(?=\r|\n|\Z)").match(place.text, at)
    if rest is None:
        raise Unsafe("something else follows on the same line")
    return rest.end()


def _indent(place: Place, at: int) -> str:
    """The white space before a place that begins its line."""
    start = max(place.text.rfind("\n", 0, at), place.text.rfind("\r", 0, at)) + 1
    indent = place.text[start:at]
    if indent.strip(" "):
        raise Unsafe("something else stands before it on the same line")
    return indent


# --- how values are written -----------------------------------------------------------------------

_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z/][\w./-]*", re.I)


def scalar(value: Any, quoted: bool = False) -> str:
    """A number or a text as YAML; ``quoted`` texts are JSON too."""
    if isinstance(value, str) and (quoted or not _PLAIN.fullmatch(value)):
        return json.dumps(value)
    return value if isinstance(value, str) else json.dumps(value)


def block(data: Mapping[str, Any]) -> list[str]:
    """A mapping as lines of block style."""
    lines: list[str] = []
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{name}:", *(f"  {line}" for line in block(value))]
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            lines += [f"{name}:", *(line for item in value for line in _item(item))]
        else:
            lines.append(f"{name}: {flow(value)}")
    return lines


def flow(value: Any, quoted: bool = False) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + _flow_pairs(value, quoted) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item, True) for item in value) + "]"
    return scalar(value, quoted)


def _flow_pairs(pairs: Mapping[str, Any], quoted: bool) -> str:
    return ", ".join(f"{scalar(name, quoted)}: {flow(value, quoted)}" for name, value in pairs.items())
