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
        """A noun, or a tuple of nouns, as tuples. What is one object in several places stays one, and is packed once."""
        return self._to_flat(value, {})

    def _to_flat(self, value: Any, known: dict[int, Any]) -> Any:
        if type(value) is tuple:
            return tuple([item if type(item) in _LEAVES else self._to_flat(item, known) for item in value])
        kind = self._fields.get(type(value))
        if kind is None:
            return value
        flat = known.get(id(value))
        if flat is None:
            items = [item if type(item) in _LEAVES else self._to_flat(item, known) for item in kind[1](value)]
            flat = known[id(value)] = (kind[0], *items)
        return flat

    def from_flat(self, flat: Any) -> Any:
        """The inverse."""
        return self._from_flat(flat, {})

    def _from_flat(self, flat: Any, known: dict[int, Any]) -> Any:
        if type(flat) is not tuple:
            return flat
        if flat and type(flat[0]) is int and flat[0] < 0:
            noun = known.get(id(flat))
            if noun is None:
                items = [item if type(item) is not tuple else self._from_flat(item, known) for item in flat[1:]]
                noun = known[id(flat)] = self._kinds[~flat[0]](*items)
            return noun
        return tuple([item if type(item) is not tuple else self._from_flat(item, known) for item in flat])
