"""Frozen nouns as bare tuples, for `marshal`, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any

_LEAVES = frozenset({str, int, float, bool, type(None)})


class Flat:
    """Knows some dataclasses, each with two fields or more. A tuple that begins with a number below 0 stands for one of them."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self._kinds = kinds
        self._fields: dict[type, tuple[int, Callable[[Any], tuple[Any, ...]]]] = {
            kind: (~at, attrgetter(*(field.name for field in dataclasses.fields(kind))))
            for at, kind in enumerate(kinds)
        }

    def to_flat(self, value: Any) -> Any:
        """A noun, or a tuple of nouns, as tuples."""
        if type(value) is tuple:
            return tuple([item if type(item) in _LEAVES else self.to_flat(item) for item in value])
        known = self._fields.get(type(value))
        if known is None:
            return value
        return (known[0], *[item if type(item) in _LEAVES else self.to_flat(item) for item in known[1](value)])

    def from_flat(self, flat: Any) -> Any:
        """The inverse."""
        if type(flat) is not tuple:
            return flat
        if flat and type(flat[0]) is int and flat[0] < 0:
            return self._kinds[~flat[0]](
                *[item if type(item) is not tuple else self.from_flat(item) for item in flat[1:]]
            )
        return tuple([item if type(item) is not tuple else self.from_flat(item) for item in flat])
