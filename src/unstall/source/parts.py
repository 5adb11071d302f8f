"""Large projects in parts: the coroutines of some files are followed together, several parts at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from unstall.catalogue import Catalogue
from unstall.source.callgraph import CallGraph, built
from unstall.source.calls import Link, Linker
from unstall.source.facts import Outline
from unstall.source.index import Index
from unstall.source.names import Resolver
from unstall.source.parallel import shared_out, workers
from unstall.source.project import Project
from unstall.source.routes import Routes, Survey
from unstall.source.values import Activation

_LINES = 75_000
"""The count of parts is the root of how many times so many lines there are. Each part follows again what it shares with
others, so large projects have large parts; the count never depends on the machine."""
_WORKER = "from unstall.source.check import serve_parts; serve_parts()"


def cut(paths: list[str], outlines: list[Outline]) -> list[frozenset[str]]:
    """The files of each part, neighbours together. What a part finds depends on its files, so this looks at them only."""
    total = sum(outline.lines for outline in outlines)
    count = max(1, round((total / _LINES) ** 0.5))
    parts: list[list[str]] = [[] for _ in range(count)]
    seen = 0
    for path, outline in zip(paths, outlines, strict=True):
        parts[min(count - 1, seen * count // max(total, 1))].append(path)
        seen += outline.lines
    return [frozenset(part) for part in parts]


def follow(resolver: Resolver, only: frozenset[str] | None = None) -> tuple[CallGraph, Survey]:
    """Follow the coroutines of these files, or of all; and what the files say of entrances."""
    links, seeds = linked(resolver, only)
    paths = resolver.project.paths
    survey = Routes(resolver).survey([n for n, path in enumerate(paths) if only is None or path in only])
    return built(resolver, links, seeds), survey


def linked(resolver: Resolver, only: frozenset[str] | None = None) -> tuple[dict[Activation, Link], list[Activation]]:
    """Link every coroutine and all that it reaches, the callbacks that it hands to the loop too; and the coroutines."""
    linker = Linker(resolver)
    project = resolver.project
    links: dict[Activation, Link] = {}
    seeds: list[Activation] = []
    for number, path in enumerate(project.paths):
        for at in project.outline(number).coroutines if only is None or path in only else ():
            seeds.append(resolver.entry(number, at))
    pending = deque(seeds)
    while pending:
        act = pending.popleft()
        if act in links:
            continue
        link = links[act] = linker.link(act)
        for edge in link.edges:
            if edge.target is not None and edge.target not in links:
                pending.append(edge.target)
        pending.extend(link.on_loop)
    return links, seeds


# --- several processes --------------------------------------------------------------------------------


def follow_all(
    project: Project, rows: Catalogue, parts: list[frozenset[str]], jobs: int | None, opening: Callable[[], bytes]
) -> list[tuple[CallGraph, Survey]]:
    """Follow every part, in order; ``opening`` is what a worker process needs to know of the project."""
    numbers = {path: number for number, path in enumerate(project.paths)}
    weights = [sum(len(project.outline(numbers[path]).coroutines) for path in part) for part in parts]
    order = sorted(range(len(parts)), key=lambda n: -weights[n])
    pieces = [sorted(parts[n]) for n in order]
    plain = shared_out(pieces, follower(project, rows), workers(jobs, len(parts)), _WORKER, opening)
    found = dict(zip(order, plain, strict=True))
    return [(CallGraph(*graph), Survey(*survey)) for graph, survey in (found[n] for n in range(len(parts)))]


def follower(project: Project, rows: Catalogue) -> Callable[[list[str]], tuple[Any, ...]]:
    """Follows one part after the other, each as if it were the only one; what it finds as bare tuples."""
    index = Index(project)

    def followed(part: list[str]) -> tuple[Any, ...]:
        resolver = Resolver(project, rows, index)
        graph, survey = follow(resolver, frozenset(part))
        resolver.forget()
        return tuple(graph), tuple(survey)

    return followed
