"""Large projects in parts: the coroutines of some files are followed together, several parts at a time."""

from __future__ import annotations

import marshal
import os
import pickle
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from unstall.catalogue import Catalogue
from unstall.source.calls import Linker
from unstall.source.facts import ASYNC, Outline
from unstall.source.index import Index
from unstall.source.names import Resolver
from unstall.source.parallel import worker_environment
from unstall.source.project import Project
from unstall.source.values import Activation
from unstall.source.walk import Awaiters, Caller, FunctionKey, Graph, Lock, Place, Reached, better, told

_LINES = 150_000
"""Lines of one part. Small parts follow shared code again and again; the count of parts never depends on the machine."""
_WORKER = "from unstall.source.check import serve_parts; serve_parts()"
_MOST_WORKERS = 8

Start = tuple[FunctionKey, int]
"""A coroutine, and the line in it where a chain begins."""
Choice = tuple[Reached, Reached]
"""The chain to show where the lock at its end is held for long, and where it is not."""


class Part(NamedTuple):
    """What the coroutines of some files lead to. ``long_locks`` are held across calls that block, or awaits."""

    chains: dict[Place, dict[Start, Choice]]
    awaiters: Awaiters
    long_locks: frozenset[Lock]
    unknown: tuple[tuple[str, int, str], ...]


def cut(paths: list[str], outlines: list[Outline]) -> list[frozenset[str]]:
    """The files of each part, neighbours together. What a part finds depends on its files, so this looks at them only."""
    total = sum(outline.lines for outline in outlines)
    count = max(1, round(total / _LINES))
    parts: list[list[str]] = [[] for _ in range(count)]
    seen = 0
    for path, outline in zip(paths, outlines, strict=True):
        parts[min(count - 1, seen * count // max(total, 1))].append(path)
        seen += outline.lines
    return [frozenset(part) for part in parts]


def follow(resolver: Resolver, only: frozenset[str] | None = None) -> Part:
    """Follow the coroutines of these files, or of all."""
    links, starts, unknown = linked(resolver, only)
    graph = Graph(links)
    chains: dict[Place, dict[Start, Choice]] = defaultdict(dict)
    for reached in graph.chains(starts):
        last = reached.hops[-1]
        place = last.caller.file, last.edge.line, last.edge.column
        start = (reached.entrance.file, reached.entrance.function), reached.hops[0].edge.line
        known = chains[place].get(start)
        if known is None:
            chains[place][start] = reached, reached
        else:
            chains[place][start] = (
                reached if better(reached, known[0], True) else known[0],
                reached if better(reached, known[1], False) else known[1],
            )
    callers: dict[Activation, Caller] = {}
    plain = {
        place: {start: (told(one, callers), told(other, callers)) for start, (one, other) in rows.items()}
        for place, rows in chains.items()
    }
    return Part(plain, graph.awaiters(), graph.long_locks, unknown)


def linked(
    resolver: Resolver, only: frozenset[str] | None = None
) -> tuple[dict[Activation, Any], list[Activation], tuple[tuple[str, int, str], ...]]:
    """Link every coroutine and all that it reaches; the callbacks it hands to the loop are starts too."""
    linker = Linker(resolver)
    project = resolver.project
    links: dict[Activation, Any] = {}
    starts: list[Activation] = []
    pending: deque[Activation] = deque()
    unknown: dict[tuple[str, int, str], None] = {}
    for number, path in enumerate(project.paths):
        for at in project.outline(number).coroutines if only is None or path in only else ():
            pending.append(resolver.entry(number, at))
    on_loop: dict[Activation, None] = {}
    while pending:
        act = pending.popleft()
        if act in links:
            continue
        link = links[act] = linker.link(act)
        if act.func.flags & ASYNC:
            starts.append(act)
        for edge in link.edges:
            if edge.target is not None and edge.target not in links:
                pending.append(edge.target)
        for target in link.on_loop:
            on_loop[target] = None
            pending.append(target)
        for line, what in link.unknown:
            unknown[project.paths[act.file], line, what] = None
    starts.extend(on_loop)
    return links, starts, tuple(unknown)


def joined_parts(parts: Iterable[Part]) -> tuple[dict[Place, dict[Start, Reached]], Awaiters, dict[Any, None]]:
    """The chains of all parts, the locks judged by what all of them know; who awaits whom; what was not followed."""
    parts = list(parts)
    long = frozenset().union(*(part.long_locks for part in parts))
    chains: dict[Place, dict[Start, Reached]] = defaultdict(dict)
    awaiters: dict[FunctionKey, dict[FunctionKey, Any]] = defaultdict(dict)
    unknown: dict[Any, None] = {}
    for part in parts:
        for place, rows in part.chains.items():
            for start, (if_long, if_short) in rows.items():
                section = if_long.hops[-1].edge.section or if_short.hops[-1].edge.section
                is_long = section is None or (place[0], section[2]) in long
                reached = if_long if is_long else if_short
                known = chains[place].get(start)
                if known is None or better(reached, known, is_long):
                    chains[place][start] = reached
        for key, callers in part.awaiters.items():
            for caller, hop in callers:
                awaiters[key].setdefault(caller, hop)
        unknown.update(dict.fromkeys(part.unknown))
    judged = {place: {start: reached.judged(long) for start, reached in rows.items()} for place, rows in chains.items()}
    return judged, {key: list(rows.items()) for key, rows in awaiters.items()}, unknown


# --- several processes --------------------------------------------------------------------------------


def follow_all(
    project: Project,
    rows: Catalogue,
    parts: list[frozenset[str]],
    jobs: int | None,
    message: Callable[[list[frozenset[str]]], bytes],
) -> list[Part]:
    """Follow every part, in order; ``message`` makes what a worker process needs for some of them."""
    workers = min(jobs or min(os.cpu_count() or 1, _MOST_WORKERS), len(parts))
    if not sys.executable:
        workers = 1
    numbers = {path: number for number, path in enumerate(project.paths)}
    weights = [sum(len(project.outline(numbers[path]).coroutines) for path in part) for part in parts]
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for number in sorted(range(len(parts)), key=lambda n: -weights[n]):
        least = loads.index(min(loads))
        shares[least].append(number)
        loads[least] += weights[number] + 1
    found: dict[int, Part] = {}
    threads = []
    for share in shares[1:]:
        data = message([parts[n] for n in share])
        thread = threading.Thread(target=_elsewhere, args=(share, data, found))
        thread.start()
        threads.append(thread)
    found.update(zip(shares[0], follow_some(project, rows, [parts[n] for n in shares[0]]), strict=True))
    for thread in threads:
        thread.join()
    # Whatever a worker did not deliver is followed here: a lost process costs time, not findings.
    missing = [n for n in range(len(parts)) if n not in found]
    found.update(zip(missing, follow_some(project, rows, [parts[n] for n in missing]), strict=True))
    return [found[n] for n in range(len(parts))]


def follow_some(project: Project, rows: Catalogue, parts: list[frozenset[str]]) -> list[Part]:
    """Follow these parts one after the other, each as if it were the only one."""
    found = []
    index = Index(project)
    for part in parts:
        resolver = Resolver(project, rows, index)
        found.append(follow(resolver, part))
        resolver.forget()
    return found


def _elsewhere(share: list[int], data: bytes, found: dict[int, Part]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _WORKER],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(),
            check=True,
        )
        # Written a moment ago by our own process, and by nobody else.
        answers = pickle.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, EOFError, TypeError, pickle.UnpicklingError):
        return
    if isinstance(answers, list) and len(answers) == len(share):
        found.update(zip(share, answers, strict=True))


def packed_parts(content: Any) -> bytes:
    """What goes to a worker."""
    return marshal.dumps(content)
