"""Large projects in parts: the coroutines of some files are followed together, several parts at a time."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from unstall.catalogue import Catalogue
from unstall.source.callgraph import CallGraph, built
from unstall.source.calls import Link, Linker
from unstall.source.facts import Outline
from unstall.source.index import Index
from unstall.source.names import Resolver
from unstall.source.parallel import worker_environment
from unstall.source.project import Project
from unstall.source.values import Activation

_LINES = 150_000
"""Lines of one part. Small parts follow shared code again and again; the count of parts never depends on the machine."""
_WORKER = "from unstall.source.check import serve_parts; serve_parts()"
_MOST_WORKERS = 8


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


def follow(resolver: Resolver, only: frozenset[str] | None = None) -> CallGraph:
    """Follow the coroutines of these files, or of all."""
    links, seeds = linked(resolver, only)
    return built(resolver, links, seeds)


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
    project: Project,
    rows: Catalogue,
    parts: list[frozenset[str]],
    jobs: int | None,
    message: Callable[[list[frozenset[str]]], bytes],
) -> list[CallGraph]:
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
    found: dict[int, CallGraph] = {}
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


def follow_some(project: Project, rows: Catalogue, parts: list[frozenset[str]]) -> list[CallGraph]:
    """Follow these parts one after the other, each as if it were the only one."""
    found = []
    index = Index(project)
    for part in parts:
        resolver = Resolver(project, rows, index)
        found.append(follow(resolver, part))
        resolver.forget()
    return found


def _elsewhere(share: list[int], data: bytes, found: dict[int, CallGraph]) -> None:
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
        answers = [CallGraph(*plain) for plain in marshal.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, EOFError, TypeError):
        return
    if len(answers) == len(share):
        found.update(zip(share, answers, strict=True))


def packed_parts(content: Any) -> bytes:
    """What goes to a worker."""
    return marshal.dumps(content)
