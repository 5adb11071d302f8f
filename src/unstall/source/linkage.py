"""The call graphs of a project: those of an earlier run where they still hold, else made now."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, NamedTuple

from unstall.catalogue import Catalogue
from unstall.source.callgraph import CallGraph, asked_of
from unstall.source.contained import Asked
from unstall.source.entrances import Entrances, Known, known_of
from unstall.source.facts import FileFacts
from unstall.source.names import Resolver
from unstall.source.project import Project
from unstall.source.relink import relinked
from unstall.source.routes import Survey
from unstall.source.store import CACHE_DIR, Stored, load_pack, save_pack, unpacked

if TYPE_CHECKING:
    from unstall.source.check import Options

_GRAPHS = "graphs"


class Linkage(NamedTuple):
    """Call graphs, one for each part, and who names their entrances."""

    graphs: list[CallGraph]
    entrances: Entrances


def joined(followed: list[tuple[CallGraph, Survey]], resolver: Resolver) -> Linkage:
    """The linkage of parts that were followed now."""
    known = known_of(survey for _, survey in followed)
    return Linkage([graph for graph, _ in followed], Entrances(resolver, known))


def recalled(
    stored: Stored, project: Project, rows: Catalogue, options: Options, around: tuple[str, ...]
) -> Linkage | None:
    """The call graphs of an earlier run, brought up to date; None where all has to be linked."""
    if not stored.base or stored.entries.keys() != stored.base.keys():
        return None
    kept = load_pack(stored.root / CACHE_DIR / _GRAPHS)
    if kept is None or kept[0] != stored.base_state(_key(options, around)):
        return None
    graphs, known = [CallGraph(*plain) for plain in kept[1]], Known(*kept[2])
    numbers = {path: number for number, path in enumerate(project.paths)}
    edited = {numbers[path]: path for path in stored.changed()}
    if edited:
        asked = _asked([*(graph.asked for graph in graphs), kept[3]])
        properties = frozenset(name for number in numbers.values() for name in project.outline(number).properties)

        def load(number: int) -> FileFacts:
            if number not in edited:
                return project.facts(number)
            path = edited[number]
            return unpacked(stored.body(path, stored.base[path]), properties)

        before = Project(project.paths, load, project.outlines, around)
        again = relinked(graphs, before, project, rows, list(edited), asked)
        if again is None:
            return None
        graphs = again
    return Linkage(graphs, Entrances(Resolver(project, rows), known, frozenset(edited)))


def keep(stored: Stored, linkage: Linkage, options: Options, around: tuple[str, ...]) -> None:
    """Keep what was linked for later runs, beside the facts that it was made from."""
    stored.anchor()
    state = stored.base_state(_key(options, around))
    graphs, entrances = linkage
    content = state, [tuple(graph) for graph in graphs], tuple(entrances.known), asked_of(entrances.r)
    save_pack(stored.root / CACHE_DIR, _GRAPHS, content)


def _key(options: Options, around: tuple[str, ...]) -> str:
    return repr((around, options.extend_blocking, options.allow, options.offload))


def _asked(packed: list[bytes]) -> Asked:
    names: set[str] = set()
    everywhere: set[str] = set()
    members: set[tuple[str, str]] = set()
    for some in map(marshal.loads, packed):
        names.update(some[0])
        everywhere.update(some[1])
        members.update(some[2])
    return Asked(frozenset(names), frozenset(everywhere), frozenset(members))
