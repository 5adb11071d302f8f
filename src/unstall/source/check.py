"""From a folder of source to findings: every blocking call that reaches the event loop, with its chains."""

from __future__ import annotations

import gc
import marshal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unstall import catalogue
from unstall.catalogue import Catalogue
from unstall.model import CallChain, Entrance, Finding, Primitive, Site, Step
from unstall.source.facts import Outline
from unstall.source.findings import Finder
from unstall.source.flat import Flat
from unstall.source.linkage import Linkage, joined, keep, recalled
from unstall.source.names import Resolver
from unstall.source.parallel import serve
from unstall.source.parts import cut, follow, follow_all, follower
from unstall.source.project import Project, find_sources
from unstall.source.store import CACHE_DIR, REPORT, Stored, collect, load_pack, outline_of, save_pack, unpacked
from unstall.source.suppress import UnusedIgnore, suppressed
from unstall.source.walk import Walks

_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a check. ``entrances`` is all or routes; ``notes`` adds the calls that are short by design.

    ``every_route`` gives a chain for each route that awaits its way to a coroutine, not for the nearest one only.
    """

    exclude: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_blocking: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    offload: tuple[str, ...] = ()
    entrances: str = "all"
    notes: bool = False
    tests: bool = False
    cache: bool = True
    jobs: int | None = None
    every_route: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """What was looked at, and what could not be followed. ``unparsed`` is path and reason."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    coroutines: int = 0
    routes: int = 0
    tests_left_out: int = 0
    parsed_now: int = 0
    unparsed: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, int, str], ...] = ()
    suppressed: int = 0
    notes: int = 0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Findings, worst first, and what was looked at to find them."""

    findings: tuple[Finding, ...]
    stats: Stats
    unused_ignores: tuple[UnusedIgnore, ...] = field(default=())


_FLAT = Flat((CheckReport, Stats, UnusedIgnore, Finding, CallChain, Entrance, Step, Site, Primitive))


def check(root: Path, options: Options | None = None) -> CheckReport:
    """Find the blocking calls below ``root``, a folder or one file. Nothing is imported or run.

    >>> from pathlib import Path
    >>> check(Path("app")).findings  # doctest: +SKIP
    """
    options = options or Options()
    if root.is_file():
        root, paths, left_out = root.parent, [root.name], 0
    else:
        paths, left_out = find_sources(root, options.exclude, options.tests)
    # Facts are many small tuples without cycles: the collector would walk them again and again for nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        stored = collect(root, paths, options.cache, options.jobs)
        around = root.resolve().parts[-4:]
        if not options.cache:
            return analysed(paths, stored, options, left_out, around)
        state = stored.state(repr((options, left_out, around)))
        report = remembered(root, state)
        if report is None:
            report = analysed(paths, stored, options, left_out, around)
            save_pack(root / CACHE_DIR, REPORT, (state, _FLAT.to_flat(report)))
        return report
    finally:
        if collecting:
            gc.enable()


def remembered(root: Path, state: bytes) -> CheckReport | None:
    """The report of the last run, where nothing that it depends on has changed since."""
    kept = load_pack(root / CACHE_DIR / REPORT)
    if kept is None or kept[0] != state:
        return None
    report: CheckReport = _FLAT.from_flat(kept[1])
    return replace(report, stats=replace(report.stats, parsed_now=0))


def analysed(
    paths: list[str], stored: Stored, options: Options, left_out: int = 0, around: tuple[str, ...] = ()
) -> CheckReport:
    """Findings from facts."""
    # Values are followed through calls within calls, each a dozen frames deep.
    frames = sys.getrecursionlimit()
    sys.setrecursionlimit(max(frames, _FRAMES))
    try:
        return _analysed(paths, stored, options, left_out, around)
    finally:
        sys.setrecursionlimit(frames)


def _analysed(
    paths: list[str], stored: Stored, options: Options, left_out: int, around: tuple[str, ...]
) -> CheckReport:
    outlines = [outline_of(stored.entries[path]) for path in paths]
    project = _project(paths, outlines, lambda number: stored.body(paths[number]), around)
    rows = extended(options)
    linkage = recalled(stored, project, rows, options, around)
    is_new = linkage is None
    if linkage is None:
        linkage = _linked(project, rows, stored, options, around)
    walks, entrances = Walks(linkage.graphs), linkage.entrances
    findings = tuple(Finder(walks, paths, entrances, options).findings())
    ignores = {path: outline.ignores for path, outline in zip(paths, outlines, strict=True) if outline.ignores}
    findings, silenced, unused = suppressed(findings, ignores)
    shown = tuple(f for f in findings if f.severity != "note" or options.notes)
    stats = Stats(
        files=len(paths),
        lines=sum(outline.lines for outline in outlines),
        functions=sum(outline.functions for outline in outlines),
        coroutines=sum(len(outline.coroutines) for outline in outlines),
        routes=entrances.known.routes,
        tests_left_out=left_out,
        parsed_now=stored.read,
        unparsed=tuple((path, o.error) for path, o in zip(paths, outlines, strict=True) if o.error),
        unknown=tuple((paths[file], line, what) for file, line, what in walks.unknown()),
        suppressed=silenced,
        notes=len(findings) - len(shown),
    )
    if is_new and stored.keeps:
        keep(stored, linkage, options, around)
    return CheckReport(shown, stats, unused)


def _linked(project: Project, rows: Catalogue, stored: Stored, options: Options, around: tuple[str, ...]) -> Linkage:
    """Link the whole project."""
    paths = project.paths
    resolver = Resolver(project, rows)
    cuts = cut(paths, project.outlines)
    if len(cuts) == 1:
        return joined([follow(resolver)], resolver)

    def opening() -> bytes:
        packed = [(stored.entries[path][3], stored.body(path)) for path in paths]
        return marshal.dumps((paths, packed, around, asdict(options)))

    return joined(follow_all(project, rows, cuts, options.jobs, opening), resolver)


def _project(
    paths: list[str], outlines: list[Outline], packed: Callable[[int], bytes], around: tuple[str, ...]
) -> Project:
    properties = frozenset(name for outline in outlines for name in outline.properties)
    return Project(paths, lambda number: unpacked(packed(number), properties), outlines, around)


def serve_parts() -> None:
    """What a worker process does: from parts of a project to their call graphs."""
    sys.setrecursionlimit(_FRAMES)

    def begin(opening: Any) -> Callable[[list[str]], tuple[Any, ...]]:
        paths, packed, around, asked = opening
        outlines = [Outline(*outline) for outline, _ in packed]
        project = _project(paths, outlines, lambda number: packed[number][1], around)
        return follower(project, extended(Options(**asked)))

    serve(begin)


def extended(options: Options) -> Catalogue:
    """The catalogue with the project's own settings."""
    rows = catalogue.load()
    if options.extend_blocking or options.allow or options.offload:
        rows = rows.extended(options.extend_blocking, options.allow, options.offload)
    return rows
