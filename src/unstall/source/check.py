"""From a folder of source to findings: every blocking call that reaches the event loop, with its chains."""

from __future__ import annotations

import gc
import json
import marshal
import pickle
import sys
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from unstall import catalogue
from unstall.catalogue import Catalogue
from unstall.model import CallChain, Entrance, Finding, Site, Step
from unstall.records import from_plain, to_plain
from unstall.source.facts import ASYNC, Outline
from unstall.source.names import Resolver
from unstall.source.parts import Start, cut, follow, follow_all, follow_some, joined_parts, packed_parts
from unstall.source.project import Project, find_sources
from unstall.source.routes import ROUTED, Entrances
from unstall.source.store import CACHE_DIR, REPORT, Stored, collect, load_pack, outline_of, save_pack, unpacked
from unstall.source.suppress import UnusedIgnore, suppressed
from unstall.source.walk import Awaiters, FunctionKey, Hop, Place, Reached, row_of

SEVERITIES = {"U": "error", "L": "warning", "S": "note"}
_ORDER = {"error": 0, "warning": 1, "note": 2}
_MOST_CHAINS = 200
"""Of one finding; with every route, ten times as many."""
_DEEPEST_AWAITS = 6
_FRAMES = 20_000

Ups = dict[FunctionKey, list[tuple[Entrance, tuple[Hop, ...]]]]
"""How routes await their way to a coroutine."""


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
            save_pack(root / CACHE_DIR, REPORT, (state, json.dumps(to_plain(report))))
        return report
    finally:
        if collecting:
            gc.enable()


def remembered(root: Path, state: bytes) -> CheckReport | None:
    """The report of the last run, where nothing that it depends on has changed since."""
    kept = load_pack(root / CACHE_DIR / REPORT)
    if kept is None or kept[0] != state:
        return None
    report = from_plain(CheckReport, json.loads(kept[1]))
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
    project = _project(paths, outlines, lambda number: stored.entries[paths[number]][4], around)
    rows = extended(options)
    resolver = Resolver(project, rows)
    cuts = cut(paths, outlines)
    if len(cuts) == 1:
        parts = [follow(resolver)]
    else:

        def message(some: list[frozenset[str]]) -> bytes:
            packed = [stored.entries[path][3:] for path in paths]
            return packed_parts((paths, packed, around, asdict(options), [sorted(part) for part in some]))

        parts = follow_all(project, rows, cuts, options.jobs, message)
    chains, awaiters, unknown = joined_parts(parts)
    entrances = Entrances(resolver)
    findings = tuple(_findings(resolver, chains, awaiters, entrances, options))
    ignores = {path: outline.ignores for path, outline in zip(paths, outlines, strict=True) if outline.ignores}
    findings, silenced, unused = suppressed(findings, ignores)
    shown = tuple(f for f in findings if f.severity != "note" or options.notes)
    stats = Stats(
        files=len(paths),
        lines=sum(outline.lines for outline in outlines),
        functions=sum(outline.functions for outline in outlines),
        coroutines=sum(len(outline.coroutines) for outline in outlines),
        routes=entrances.count_routes(),
        tests_left_out=left_out,
        parsed_now=stored.read,
        unparsed=tuple((path, o.error) for path, o in zip(paths, outlines, strict=True) if o.error),
        unknown=tuple(unknown),
        suppressed=silenced,
        notes=len(findings) - len(shown),
    )
    return CheckReport(shown, stats, unused)


def _project(
    paths: list[str], outlines: list[Outline], packed: Callable[[int], bytes], around: tuple[str, ...]
) -> Project:
    properties = frozenset(name for outline in outlines for name in outline.properties)
    return Project(paths, lambda number: unpacked(packed(number), properties), outlines, around)


def serve_parts() -> None:
    """What a worker process does: facts and parts on standard input, what they lead to on standard output."""
    gc.disable()
    sys.setrecursionlimit(_FRAMES)
    paths, packed, around, asked, parts = marshal.loads(sys.stdin.buffer.read())
    outlines = [Outline(*outline) for outline, _ in packed]
    project = _project(paths, outlines, lambda number: packed[number][1], around)
    found = follow_some(project, extended(Options(**asked)), [frozenset(part) for part in parts])
    sys.stdout.buffer.write(pickle.dumps(found, pickle.HIGHEST_PROTOCOL))


def extended(options: Options) -> Catalogue:
    """The catalogue with the project's own settings."""
    rows = catalogue.load()
    if options.extend_blocking or options.allow or options.offload:
        rows = rows.extended(options.extend_blocking, options.allow, options.offload)
    return rows


# --- chains to findings -------------------------------------------------------------------------------


def _findings(
    resolver: Resolver,
    by_place: dict[Place, dict[Start, Reached]],
    awaited_by: Awaiters,
    entrances: Entrances,
    options: Options,
) -> list[Finding]:
    ups: Ups = {}
    findings = []
    seen_keys: dict[str, int] = defaultdict(int)
    for place in sorted(by_place, key=lambda p: (resolver.project.paths[p[0]], p[1], p[2])):
        finding = _finding(resolver, list(by_place[place].values()), entrances, awaited_by, ups, options, seen_keys)
        if finding is not None:
            findings.append(finding)
    findings.sort(key=lambda f: (_ORDER[f.severity], f.site.path, f.site.line, f.site.column))
    return findings


def _finding(
    resolver: Resolver,
    many: list[Reached],
    entrances: Entrances,
    awaited_by: Awaiters,
    ups: Ups,
    options: Options,
    seen_keys: dict[str, int],
) -> Finding | None:
    worst = min(many, key=lambda r: ("ULS".index(row_of(r).duration), len(r.hops)))
    row = row_of(worst)
    last = worst.hops[-1]
    path = resolver.project.paths[last.caller.file]
    base = f"{path}::{last.caller.qualname}::{row.rule}::{row.name}"
    seen_keys[base] += 1
    key = base if seen_keys[base] == 1 else f"{base}#{seen_keys[base]}"
    if not _selected(row.rule, options):
        return None
    primitive = row.primitive()
    chains = []
    for reached in many:
        start = reached.entrance.file, reached.entrance.function
        if start not in ups:
            on_loop = not reached.entrance.flags & ASYNC
            ups[start] = _entered_by(start, entrances, awaited_by, on_loop, options.every_route)
        for entrance, above in ups[start]:
            if options.entrances == "routes" and entrance.kind not in ROUTED:
                continue
            steps = tuple(_step(resolver, hop) for hop in (*above, *reached.hops))
            chains.append(CallChain(entrance, steps, row_of(reached).primitive()))
    if not chains:
        return None
    chains.sort(key=lambda c: (c.entrance.kind not in ROUTED, len(c.steps), c.entrance.label, c.steps[0].site.line))
    site = Site(path, last.edge.line, last.edge.column, last.caller.qualname)
    return Finding(
        row.rule,
        SEVERITIES[row.duration],
        site,
        primitive,
        tuple(chains[: _MOST_CHAINS * (10 if options.every_route else 1)]),
        key,
        row.remedy or None,
    )


def _selected(rule: str, options: Options) -> bool:
    if options.select and not any(rule.startswith(s) for s in options.select):
        return False
    return not any(rule.startswith(s) for s in options.ignore)


def _entered_by(
    start: FunctionKey,
    entrances: Entrances,
    awaited_by: Awaiters,
    on_loop: bool,
    every: bool,
) -> list[tuple[Entrance, tuple[Hop, ...]]]:
    """The nearest route that awaits its way to a coroutine, or every one, with the awaits; else the coroutine itself."""
    own = entrances.name(start, on_loop)
    if own.kind in ROUTED:
        return [(own, ())]
    found = []
    seen = {start}
    queue: deque[tuple[FunctionKey, tuple[Hop, ...]]] = deque([(start, ())])
    while queue:
        at, above = queue.popleft()
        if len(above) >= _DEEPEST_AWAITS:
            continue
        for caller, hop in awaited_by.get(at, ()):
            if caller in seen:
                continue
            seen.add(caller)
            entrance = entrances.name(caller)
            if entrance.kind in ROUTED:
                found.append((entrance, (hop, *above)))
                if not every:
                    return found
            else:
                queue.append((caller, (hop, *above)))
    return found or [(own, ())]


def _step(resolver: Resolver, hop: Hop) -> Step:
    edge = hop.edge
    site = Site(resolver.project.paths[hop.caller.file], edge.line, edge.column, hop.caller.qualname)
    return Step(site, edge.text, edge.how, "inferred" if edge.inferred else "resolved")
