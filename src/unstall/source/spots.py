"""From findings to the spots in coroutines where a fix is made."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace

from unstall.model import Finding, Step
from unstall.source.imports import POOL
from unstall.source.origins import CONSUMERS
from unstall.source.plans import Place, Spot, below
from unstall.source.texts import Texts
from unstall.source.transforms import OPENERS, chained
from unstall.source.trees import Tree, called_name


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A chain for which no spot was found, and why."""

    finding: Finding
    reason: str


def spots_of(texts: Texts, findings: Iterable[Finding]) -> tuple[list[tuple[Place, list[Spot]]], list[Unplaced]]:
    """The coroutines that leave the event loop waiting, each with its spots in the order of the source."""
    places: dict[int, Place] = {}
    spots: dict[int, dict[tuple[int, bool], Spot]] = {}
    unplaced: list[Unplaced] = []
    for finding in findings:
        for chain in finding.chains:
            step = below(chain)[0]
            found = _located(texts, step)
            if isinstance(found, str):
                unplaced.append(Unplaced(finding, found))
                continue
            place, node = found
            places.setdefault(id(place.function), place)
            _add(spots.setdefault(id(place.function), {}), place, Spot(step, node, (chain,), (finding,)))
    return [(place, _merged(place, list(spots[key].values()))) for key, place in places.items()], unplaced


def _add(known: dict[tuple[int, bool], Spot], place: Place, spot: Spot) -> None:
    parent = place.tree.parents.get(spot.node)
    looped = spot.step.how == "iterate" and isinstance(parent, ast.For | ast.comprehension)
    key = id(spot.node), looped
    before = known.get(key)
    if before is None:
        known[key] = spot
        return
    step = before.step if before.step.how != "decorator" else spot.step
    known[key] = replace(
        before, step=step, chains=before.chains + spot.chains, findings=before.findings + spot.findings
    )


def _merged(place: Place, spots: list[Spot]) -> list[Spot]:
    """In the order of the source, outer ones first; ``open(p).read()`` is one spot."""
    spots.sort(key=lambda s: (place.tree.start(s.node), -place.tree.end(s.node), s.step.how != "iterate"))
    kept: list[Spot] = []
    for spot in spots:
        outer = next(
            (
                i
                for i, each in enumerate(kept)
                if isinstance(each.node, ast.Call)
                and each.step.how == "call"
                and chained(each.node)
                and isinstance(each.node.func, ast.Attribute)
                and each.node.func.value is spot.node
            ),
            None,
        )
        if outer is None:
            kept.append(spot)
        else:
            kept[outer] = replace(
                kept[outer],
                chains=kept[outer].chains + spot.chains,
                findings=kept[outer].findings + spot.findings,
            )
    return kept


def _located(texts: Texts, step: Step) -> tuple[Place, ast.expr] | str:
    """The coroutine and the node of a step; why not where there is none."""
    tree = texts.tree(step.site.path)
    if tree is None:
        return texts.unreadable.get(step.site.path, "its file cannot be read")
    if step.how == "property":
        return "it is behind a property, and reading an attribute cannot be awaited"
    node = _node(tree, step)
    if node is None:
        return "its place in the source is not clear"
    function = tree.scope(node)
    if isinstance(function, ast.Lambda):
        return "it is in a lambda, which cannot await"
    if isinstance(function, ast.ClassDef):
        return "it is in the body of a class, which cannot await"
    if not isinstance(function, ast.AsyncFunctionDef):
        return f"`{step.site.qualname}` is called by the event loop itself and is no coroutine, so it cannot await"
    return Place(tree, function, POOL if texts.starlette else "asyncio", texts.line_length), node


def _node(tree: Tree, step: Step) -> ast.expr | None:
    line, column = step.site.line, step.site.column
    if step.how == "iterate":
        for node in tree.calls_at(line, column):
            if called_name(node) in CONSUMERS:
                return node
        return tree.value_at(line, column)
    if step.how == "with":
        return tree.value_at(line, column)
    call = tree.call_at(line, column, step.callee)
    if call is not None and called_name(call) in OPENERS:
        # One place in source is one finding: of `open(p).read()` the opening alone would be reported.
        outer = tree.parents.get(tree.parents[call])
        return outer if isinstance(outer, ast.Call) and chained(outer) and root_of(outer) is call else call
    return call


def root_of(call: ast.Call) -> ast.expr | None:
    """What a method is called on."""
    return call.func.value if isinstance(call.func, ast.Attribute) else None
