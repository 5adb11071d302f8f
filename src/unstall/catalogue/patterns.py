"""The grammar of origin paths: names, ``()`` for a call, ``[]`` for an element, and patterns over them.

``boto3.client().put_object`` is four tokens: ``boto3``, ``client``, ``()``, ``put_object``. A pattern may also
hold ``*`` (any one public name), ``{get,post}`` (either) and, last, ``**`` (one public name or more, no call between).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Tokens = tuple[str, ...]
Node = dict[str, Any]

_TOKEN = re.compile(r"\(\)|\[\]|[^.()\[\]]+")
_BRACES = re.compile(r"\{([^{}]*)\}")
_LEAF = "<leaf>"
_PUNCTUATION = ("()", "[]")


def tokens_of(origin: str) -> Tokens:
    """Cut an origin path or an expanded pattern into tokens."""
    return tuple(_TOKEN.findall(origin))


def text_of(tokens: Tokens) -> str:
    """The origin path that these tokens spell; the reverse of ``tokens_of``."""
    parts: list[str] = []
    for token in tokens:
        if parts and token not in _PUNCTUATION:
            parts.append(".")
        parts.append(token)
    return "".join(parts)


def expanded(pattern: str) -> Iterator[str]:
    """Every pattern that the alternations in this one stand for."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    for choice in braces.group(1).split(","):
        yield from expanded(before + choice.strip() + after)


def rooted(pattern: str) -> tuple[str, ...]:
    """The patterns by which this one is filed: one a first name, later alternations left as they are."""
    if not pattern.startswith("{"):
        return (pattern,)
    choices, _, after = pattern[1:].partition("}")
    return tuple(choice.strip() + after for choice in choices.split(","))


def listed(text: str) -> list[str]:
    """The patterns in a block of text: separated by white space, ``#`` starts a comment."""
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()]


class Trie:
    """Patterns indexed by token, so that a look-up costs the length of the path and not the number of rows."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: Node = {}

    def add(self, pattern: str, leaf: object) -> None:
        """Index one pattern, its alternations included; a later pattern of the same spelling wins."""
        for spelling in expanded(pattern):
            node = self._root
            for token in tokens_of(spelling):
                node = node.setdefault(token, {})
            node[_LEAF] = leaf

    def match(self, tokens: Tokens) -> Any:
        """The leaf of the most specific pattern that covers all the tokens, None where there is none."""
        return _match(self._root, tokens, 0)

    def longest_prefix(self, tokens: Tokens) -> tuple[int, Any] | None:
        """How many leading tokens the longest matching pattern covers, with its leaf."""
        best: tuple[int, Any] | None = None
        level: list[Node] = [self._root]
        for depth, token in enumerate(tokens, start=1):
            level = [child for node in level for child in _children(node, token)]
            if not level:
                break
            leaf = next((node[_LEAF] for node in level if _LEAF in node), None)
            if leaf is not None:
                best = depth, leaf
        return best

    def holds(self, tokens: Tokens) -> bool:
        """True where some pattern begins with these tokens."""
        level = [self._root]
        for token in tokens:
            level = [child for node in level for child in _children(node, token)]
        return bool(level)


def _children(node: Node, token: str) -> Iterator[Node]:
    if token in node:
        yield node[token]
    if "*" in node and _plain(token):
        yield node["*"]


def _match(node: Node, tokens: Tokens, at: int) -> Any:
    if at == len(tokens):
        return node.get(_LEAF)
    for child in _children(node, tokens[at]):
        leaf = _match(child, tokens, at + 1)
        if leaf is not None:
            return leaf
    tail = node.get("**")
    return tail.get(_LEAF) if tail is not None and all(map(_plain, tokens[at:])) else None


def _plain(token: str) -> bool:
    """A public name: no call, no element and no ``__iter__``, which wildcards must not cover by accident."""
    return token not in _PUNCTUATION and token[0] != "_"
