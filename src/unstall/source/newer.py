"""Spells newer syntax in the words of an older parser, every line where it was and nearly every column.

Only for reading: what is lost (type parameters, the text of some strings) says nothing about calls.
"""

from __future__ import annotations

import re

_PREFIX = re.compile(r"(?i)\b(?:[rbuft]|[rb][bft]|[bft]r)$")
_PARAMETERS = re.compile(r"\b(?:class|def)[ \t]+\w+[ \t]*\[")
_ALIAS = re.compile(r"^([ \t]*)type([ \t]+)(?=\w+[ \t]*=[^=])", re.MULTILINE)
_GENERIC_ALIAS = re.compile(r"^[ \t]*type[ \t]+\w+[ \t]*\[", re.MULTILINE)
_EXCEPT = re.compile(r"^([ \t]*except\*?[ \t]*)([ \t][\w.]+(?:[ \t]*,[ \t]*[\w.]+)+)([ \t]*:)", re.MULTILINE)
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def older(text: str) -> str:
    """The text without type parameters, ``type`` statements, bare ``except A, B`` and what f-strings may newly hold."""
    strings = _Strings(text)
    strings.code(0, "")
    # Line by line is kept: every piece of `out` stands for one character of `text`.
    out, mask = strings.out, "".join(strings.mask)
    for pattern in (_PARAMETERS, _GENERIC_ALIAS):
        for match in pattern.finditer(mask):
            _blank(out, mask, match.end() - 1)
    mask = _without(mask, _GENERIC_ALIAS)
    for match in _ALIAS.finditer(mask):
        for at in range(match.end(1), match.end(2)):
            out[at] = ""
    for match in _EXCEPT.finditer(mask):
        out[match.start(2)] = " ("
        out[match.start(3)] = ")" + out[match.start(3)]
    return "".join(out)


def _without(mask: str, pattern: re.Pattern[str]) -> str:
    """The mask with the brackets after each match blanked."""
    held = list(mask)
    for match in pattern.finditer(mask):
        _blank(held, mask, match.end() - 1)
    return "".join("".join(held).replace("\\\n", " \n") if len(held) == len(mask) else mask)[: len(mask)]


def _blank(out: list[str], mask: str, start: int) -> None:
    """Blank a bracket and all inside it; lines inside are joined, so that they stay one statement."""
    depth = 0
    for at in range(start, len(mask)):
        depth += _BRACKETS.get(mask[at], 0)
        out[at] = "\\\n" if mask[at] == "\n" else " "
        if depth == 0:
            return


class _Strings:
    """Walks source once. ``mask`` is the code with strings and comments blanked, ``out`` what an older parser reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.out = list(text)
        self.mask = list(text)

    def code(self, at: int, quotes: str) -> int:
        """Read code up to the end, or up to the bracket that closes a field of the f-strings around, by their quotes."""
        text, depth = self.text, 0
        while at < len(text):
            char = text[at]
            if char == "#":
                at = self.comment(at, bool(quotes))
                continue
            if char in "\"'":
                at = self.string(at, quotes)
                continue
            if quotes:
                if (
                    depth == 0
                    and char in "}:"
                    or depth == 0
                    and text[at : at + 1] == "!"
                    and text[at + 1 : at + 2] != "="
                ):
                    return at
                self.mask[at] = "\n" if char == "\n" else " "
            depth += _BRACKETS.get(char, 0)
            at += 1
        return at

    def comment(self, at: int, inside: bool) -> int:
        """Blank a comment; in a field of an f-string, older parsers must not see it."""
        while at < len(self.text) and self.text[at] != "\n":
            self.mask[at] = " "
            if inside:
                self.out[at] = " "
            at += 1
        return at

    def string(self, start: int, quotes: str) -> int:
        """Read a string, blank it in the mask and give it quotes that the strings around do not have."""
        text = self.text
        prefix = _PREFIX.search(text, max(0, start - 2), start)
        kind = prefix.group().lower() if prefix is not None else ""
        if "t" in kind and prefix is not None:
            self.out[prefix.start() + kind.index("t")] = "f"
        size = 3 if text[start : start + 3] == text[start] * 3 else 1
        quote = text[start : start + size]
        chosen = next((q for q in (text[start], "'", '"') if q not in quotes), "")
        inner = quotes + (chosen or text[start])
        at, fields = start + size, []
        while at < len(text) and text[at : at + size] != quote:
            if text[at] == "\\":
                at += 2
            elif text[at] == "\n" and size == 1:
                break
            elif text[at] == "{" and ("f" in kind or "t" in kind):
                if text[at + 1 : at + 2] == "{":
                    at += 2
                else:
                    begin = at + 1
                    at = self.field(begin, inner)
                    fields.append((begin, at))
            else:
                at += 1
        end = min(at + size, len(text))
        for each in range(start, end):
            self.mask[each] = "\n" if text[each] == "\n" else " "
        if quotes:
            self.requote(start, end, size, chosen)
        elif size == 1 and any("\n" in text[a:b] for a, b in fields):
            self.out[start] = text[start] * 3
            self.out[end - 1] = text[start] * 3
        return end

    def field(self, at: int, quotes: str) -> int:
        """A ``{...}`` of an f-string: code, then perhaps a format that may hold fields again; gives what follows it."""
        text = self.text
        at = self.code(at, quotes)
        while at < len(text) and text[at] != "}":
            if text[at] == "{":
                at = self.field(at + 1, quotes)
            else:
                at += 1
        return at + 1

    def requote(self, start: int, end: int, size: int, chosen: str) -> None:
        """Inside a field: no backslash, and no quote of the strings around; without a free quote, no string."""
        inside = range(start + size, end - size)
        for at in inside:
            if self.out[at] == "\\":
                self.out[at] = "_"
        if chosen == self.text[start]:
            return
        if not chosen or size == 3:
            for at in range(start, end):
                self.out[at] = "\n" if self.text[at] == "\n" else " "
            self.out[start] = "0"
            return
        for at in inside:
            if self.text[at] == chosen:
                self.out[at] = "_"
        self.out[start] = self.out[end - 1] = chosen
