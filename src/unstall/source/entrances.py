"""Entrances: what people call the places where a framework calls in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from unstall.model import Entrance, Site
from unstall.source.names import Resolver
from unstall.source.routes import FunctionKey, Routes, Survey, Told, put_first

ROUTED = frozenset(["endpoint", "websocket", "dependency", "middleware", "exception-handler", "background", "lifespan"])
_SERVED = ("endpoint", "websocket")


class Known(NamedTuple):
    """Kind, label, line and qualname of the coroutines of a project, what is registered or included where."""

    named: dict[FunctionKey, tuple[str, str, int, str]]
    registered: dict[FunctionKey, Told]
    included: dict[tuple[int, str], str]
    routes: int


def known_of(surveys: Iterable[Survey]) -> Known:
    """What the surveys of all parts of a project say together."""
    registered: dict[FunctionKey, Told] = {}
    decorated: dict[FunctionKey, Told] = {}
    included: dict[tuple[int, str], str] = {}
    surveys = list(surveys)
    for survey in surveys:
        decorated |= survey.decorated
        included = survey.included
        for key, told in survey.registered.items():
            put_first(registered, key, told)
    named = {}
    for survey in surveys:
        for key, (line, qualname) in survey.places.items():
            found = decorated.get(key) or registered.get(key) or survey.shaped.get(key)
            named[key] = *_told(found, qualname), line, qualname
    served = {key for some in (decorated, registered) for key, told in some.items() if told[0] in _SERVED}
    return Known(named, registered, included, len(served))


def _told(found: Told | None, qualname: str, on_loop: bool = False) -> Told:
    """Kind and label of a function, and what it is where nothing says that it is an entrance."""
    if found is not None:
        return found[0], found[1] or qualname
    return ("callback", f"loop callback {qualname}") if on_loop else ("coroutine", f"async def {qualname}")


class Entrances:
    """Names entrances when they are asked for. In the files of ``changed``, ``known`` holds but for names and lines."""

    def __init__(self, resolver: Resolver, known: Known, changed: frozenset[int] = frozenset()) -> None:
        self.r, self.known = resolver, known
        self._routes = Routes(resolver, known.included)
        self._changed = changed
        self._named: dict[FunctionKey, Entrance] = {}

    def name(self, key: FunctionKey, on_loop: bool = False) -> Entrance:
        """The entrance that a coroutine function, or a function handed to the loop, is."""
        entrance = self._named.get(key)
        if entrance is None:
            known = self.known.named.get(key) if key[0] not in self._changed else None
            if known is not None:
                kind, label, line, qualname = known
                entrance = Entrance(kind, label, Site(self.r.project.paths[key[0]], line, 1, qualname))
            else:
                entrance = self._name(key, on_loop)
            self._named[key] = entrance
        return entrance

    def _name(self, key: FunctionKey, on_loop: bool) -> Entrance:
        file, at = key
        func = self.r.project.facts(file).functions[at]
        site = Site(self.r.project.paths[file], func.line, 1, func.qualname)
        routes = self._routes
        found = routes.decorated(file, func) or self.known.registered.get(key) or routes.by_shape(file, func)
        return Entrance(*_told(found, func.qualname, on_loop), site)
