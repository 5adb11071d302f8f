"""The scope of one function while its body is read."""

from __future__ import annotations

from typing import Any


class Scope:
    """Names as they are bound, in order, with the block each binding stands in."""

    __slots__ = (
        "annotation",
        "binds",
        "block",
        "blocks",
        "decorators",
        "effects",
        "flags",
        "globals",
        "line",
        "name",
        "names",
        "next_block",
        "nonlocals",
        "open",
        "owner",
        "params",
        "parent",
        "qualname",
        "returns",
        "seen",
        "self_name",
        "self_owner",
        "where",
        "yields",
    )

    def __init__(self, name: str, qualname: str, line: int, parent: int) -> None:
        self.name, self.qualname, self.line, self.parent = name, qualname, line, parent
        self.flags, self.owner, self.self_name, self.self_owner = 0, -1, "", -1
        self.params: tuple[tuple[Any, ...], ...] = ()
        self.decorators: tuple[tuple[int, int], ...] = ()
        self.annotation = -1
        self.names: dict[str, list[int]] = {}
        self.where: dict[str, list[int]] = {}
        self.effects: list[tuple[Any, ...]] = []
        self.returns: list[int] = []
        self.yields: list[int] = []
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.block, self.next_block, self.binds = 0, 1, 0
        self.blocks: list[tuple[int, int]] = []
        self.open = {0}
        self.seen: dict[str, int] = {}
        """The expressions that names stand for, until one may stand for something else."""

    def enter_block(self) -> None:
        """What follows may not run."""
        self.blocks.append((self.block, self.binds))
        self.block = self.next_block
        self.open.add(self.block)
        self.next_block += 1

    def leave_block(self) -> None:
        """Back to what runs whenever the block's surroundings do."""
        self.open.discard(self.block)
        self.block, binds = self.blocks.pop()
        if binds != self.binds:
            self.seen.clear()

    def bind(self, name: str, value: int) -> None:
        """A name gets a value here."""
        values = self.names.get(name)
        if values is None:
            self.names[name], self.where[name] = [value], [self.block]
        else:
            values.append(value)
            self.where[name].append(self.block)
        self.seen.pop(name, None)
        self.binds += 1

    def reaching(self, name: str) -> tuple[int, ...]:
        """Which bindings of a name may be seen here: back to the last that is certain to have run."""
        where = self.where[name]
        last = len(where) - 1
        if where[last] in self.open:
            return (last,)
        found = []
        for at in range(last, -1, -1):
            found.append(at)
            if where[at] in self.open:
                break
        return tuple(found)

    def facts(self) -> tuple[Any, ...]:
        """The scope as it is kept: a bare `facts.FunctionFacts`."""
        return (
            self.name,
            self.qualname,
            self.line,
            self.flags,
            self.parent,
            self.owner,
            self.params,
            self.decorators,
            {name: tuple(values) for name, values in self.names.items()},
            tuple(self.effects),
            tuple(dict.fromkeys(self.returns)),
            tuple(dict.fromkeys(self.yields)),
            self.annotation,
        )
