"""The nouns of the catalogue: a row that blocks, what excuses it, a call that moves work elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unstall.model import Primitive

Use = Literal["call", "iterate", "with"]

UNKNOWN = ...
"""The value of an argument that is not a literal."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An argument that makes a blocking call harmless, as ``block=False``.

    ``test`` is ``is`` (the argument has ``value``), ``lacks`` (it is a text without ``value``), ``absent`` or
    ``present``; ``position`` is where it stands when it is not named, None where it must be.
    """

    keyword: str
    position: int | None = None
    test: Literal["is", "lacks", "absent", "present"] = "is"
    value: object = None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read ``timeout=0``, ``block@0=False`` (position 0), ``!interval@0`` (absent), ``+domain`` (present) or
        ``-pattern@0='**'`` (a text that lacks this)."""
        test: Literal["is", "lacks", "absent", "present"] = "is"
        if text[0] in "!+-":
            test = "absent" if text[0] == "!" else "present" if text[0] == "+" else "lacks"
            text = text[1:]
        name, _, literal = text.partition("=")
        keyword, _, position = name.partition("@")
        value = ast.literal_eval(literal) if literal else None
        return cls(keyword, int(position) if position else None, test, value)

    def holds(self, positional: Sequence[object], keywords: Mapping[str, object]) -> bool:
        """True where these arguments meet it; ``UNKNOWN`` stands for a value that cannot be read from source."""
        there = self.keyword in keywords or (self.position is not None and self.position < len(positional))
        if self.test in ("absent", "present"):
            return there == (self.test == "present")
        if not there:
            return False
        value = keywords[self.keyword] if self.keyword in keywords else positional[self.position or 0]
        if self.test == "lacks":
            return isinstance(value, str) and str(self.value) not in value
        return value is not UNKNOWN and type(value) in (bool, int, float, str, type(None)) and value == self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One call of the catalogue, by its canonical origin path.

    ``duration`` and ``releases_gil`` mean what they mean in ``Primitive``; ``when`` says whether calling,
    iterating or entering the value blocks; ``verified`` names the library and version the path was proved
    against, empty where it was not; ``pattern`` is the spelling in the data that matched.
    """

    name: str
    rule: str
    why: str
    duration: str
    releases_gil: bool | None = None
    remedy: str = ""
    transform: str = ""
    when: Use = "call"
    unless: tuple[Condition, ...] = ()
    verified: str = ""
    family: str = ""
    library: str = ""
    pattern: str = ""

    def excused(self, positional: Sequence[object] = (), keywords: Mapping[str, object] | None = None) -> bool:
        """True where the arguments make this one call harmless, as ``queue.get(block=False)``."""
        return any(condition.holds(positional, keywords or {}) for condition in self.unless)

    def primitive(self) -> Primitive:
        """What crosses to the other floors."""
        return Primitive(self.name, self.rule, self.why, self.duration, self.releases_gil, self.remedy, self.transform)


@dataclass(frozen=True, slots=True)
class Offload:
    """A call that runs one of its arguments off the event loop: a chain ends there.

    ``position`` and ``keyword`` say which argument; ``where`` is thread, process, greenlet or elsewhere (another machine);
    ``decorator`` is True where it also wraps a function that is called later.
    """

    name: str
    where: str
    position: int | None = None
    keyword: str = ""
    decorator: bool = False
