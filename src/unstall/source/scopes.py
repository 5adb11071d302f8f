"""The scope of one function while its body is read."""

from __future__ import annotations

from unstall.source.facts import Effect, FunctionFacts, Param


class Scope:
    """Names as they are bound, in order, with the block each binding stands in."""

    __slots__ = (
        "annotation",
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
        "self_name",
        "self_owner",
        "where",
        "yields",
    )

    def __init__(self, name: str, qualname: str, line: int, parent: int) -> None:
        self.name, self.qualname, self.line, self.parent = name, qualname, line, parent
        self.flags, self.owner, self.self_name, self.self_owner = 0, -1, "", -1
        self.params: tuple[Param, ...] = ()
        self.decorators: tuple[tuple[int, int], ...] = ()
        self.annotation = -1
        self.names: dict[str, list[int]] = {}
        self.where: dict[str, list[int]] = {}
        self.effects: list[Effect] = []
        self.returns: list[int] = []
        self.yields: list[int] = []
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.blocks, self.open, self.next_block = [0], {0}, 1

    def enter_block(self) -> None:
        """What follows may not run."""
        self.blocks.append(self.next_block)
        self.open.add(self.next_block)
        self.next_block += 1

    def leave_block(self) -> None:
        """Back to what runs whenever the block's surroundings do."""
        self.open.discard(self.blocks.pop())

    def bind(self, name: str, value: int) -> None:
        """A name gets a value here."""
        self.names.setdefault(name, []).append(value)
        self.where.setdefault(name, []).append(self.blocks[-1])

    def reaching(self, name: str) -> tuple[int, ...]:
        """Which bindings of a name may be seen here: back to the last that is certain to have run."""
        where = self.where.get(name)
        if where is None:
            return ()
        found = []
        for at in range(len(where) - 1, -1, -1):
            found.append(at)
            if where[at] in self.open:
                break
        return tuple(found)

    def facts(self) -> FunctionFacts:
        """The scope as it is kept."""
        return FunctionFacts(
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
