"""The nouns of fixing: a spot in a coroutine to be changed, a plan for it, and why there is none."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from unstall.errors import UnstallError
from unstall.model import CallChain, Edit, Finding, Step
from unstall.source.trees import Tree


class Refused(UnstallError):
    """A spot is left alone; the message says why."""


@dataclass(frozen=True, slots=True)
class Spot:
    """The place in a coroutine's own body that leads to blocking calls: ``step`` is the hop taken there, ``node`` the
    call, iteration or ``with`` item in source; ``chains`` are the chains through it, each with its finding."""

    step: Step
    node: ast.expr
    chains: tuple[CallChain, ...]
    findings: tuple[Finding, ...]

    @property
    def direct(self) -> bool:
        """True where the coroutine itself makes the blocking call."""
        return all(len(below(chain)) == 1 for chain in self.chains)

    @property
    def names(self) -> frozenset[str]:
        """What blocks, by the catalogue's names."""
        return frozenset(chain.primitive.name for chain in self.chains)


@dataclass(frozen=True, slots=True)
class Plan:
    """Edits to one coroutine. ``why`` heads the hunk; ``what`` is the call that moves by itself, in short; ``unsafe`` says how behaviour can change, empty where it cannot;
    ``needs`` are imports to add, ``drops`` names whose import may be unused now; ``pooled`` counts calls that now take
    a thread of the pool."""

    path: str
    function: str
    kind: str
    why: str
    edits: tuple[Edit, ...]
    spots: tuple[Spot, ...]
    needs: frozenset[str] = frozenset()
    drops: frozenset[str] = frozenset()
    unsafe: str = ""
    pooled: int = 0
    what: str = ""

    @property
    def mark(self) -> object:
        """Equal for the same change to the same coroutine, wherever earlier fixes have moved it to."""
        return self.path, self.function, self.kind, *(ast.unparse(spot.node) for spot in self.spots)


@dataclass(frozen=True, slots=True)
class Place:
    """A coroutine being changed: its file's tree, its definition, the pool that work is sent to, and how long the project
    lets a line be."""

    tree: Tree
    function: ast.AsyncFunctionDef
    pool: str
    line_length: int | None = None

    @property
    def name(self) -> str:
        """Its qualified name."""
        return self.tree.qualname(self.function)

    def edit(self, start: int, end: int, text: str) -> Edit:
        """An edit of this file."""
        return Edit(self.tree.path, start, end, text)


def below(chain: CallChain) -> tuple[Step, ...]:
    """The chain without the awaits above the coroutine that leaves the event loop waiting."""
    steps = chain.steps
    while len(steps) > 1 and steps[0].how == "await":
        steps = steps[1:]
    return steps
