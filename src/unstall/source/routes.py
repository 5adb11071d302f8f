"""Where a framework calls in, as source says it: decorators, calls that register, base classes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cached_property
from typing import NamedTuple

from unstall.source import facts as f
from unstall.source.names import Resolver
from unstall.source.values import Activation, Values

FunctionKey = tuple[int, int]

_METHODS = frozenset(["get", "post", "put", "delete", "patch", "head", "options", "trace"])
_ROUTES = f.ROUTE_NAMES
_REGISTER = {
    "add_api_route": ("endpoint", 1),
    "add_api_websocket_route": ("websocket", 1),
    "add_websocket_route": ("websocket", 1),
    "add_get": ("endpoint", 1),
    "add_post": ("endpoint", 1),
    "add_put": ("endpoint", 1),
    "add_delete": ("endpoint", 1),
    "add_patch": ("endpoint", 1),
    "add_route": ("endpoint", 1),
    "Route": ("endpoint", 1),
    "WebSocketRoute": ("websocket", 1),
    "path": ("endpoint", 1),
    "re_path": ("endpoint", 1),
    "add_middleware": ("middleware", 0),
    "add_exception_handler": ("exception-handler", 1),
    "add_event_handler": ("lifespan", 1),
    "add_task": ("background", 0),
    "add_job": ("task", 0),
    "create_task": ("task", 0),
    "ensure_future": ("task", 0),
    "Depends": ("dependency", 0),
    "Security": ("dependency", 0),
}
_FRAMEWORKS = (
    "fastapi",
    "starlette",
    "litestar",
    "aiohttp",
    "sanic",
    "quart",
    "blacksheep",
    "django",
    "robyn",
    "falcon",
)
_KIND_ORDER = [
    "endpoint",
    "websocket",
    "dependency",
    "middleware",
    "exception-handler",
    "background",
    "lifespan",
    "task",
    "callback",
    "coroutine",
]


Told = tuple[str, str]
"""Kind and label of an entrance; a label may be empty."""


class Survey(NamedTuple):
    """What some files say of entrances, by function; ``included`` is what the whole project says of routers.

    ``places`` has line and qualname of every coroutine of these files.
    """

    places: dict[FunctionKey, tuple[int, str]]
    decorated: dict[FunctionKey, Told]
    registered: dict[FunctionKey, Told]
    shaped: dict[FunctionKey, Told]
    included: dict[tuple[int, str], str]


class Routes:
    """Reads what source says of entrances. ``included`` is known from an earlier run, or worked out."""

    def __init__(self, resolver: Resolver, included: dict[tuple[int, str], str] | None = None) -> None:
        self.r = resolver
        self.project = resolver.project
        self._known = included

    def survey(self, files: Sequence[int]) -> Survey:
        """What these files say of their coroutines, of functions that look like endpoints, and of what they register."""
        places: dict[FunctionKey, tuple[int, str]] = {}
        decorated: dict[FunctionKey, Told] = {}
        shaped: dict[FunctionKey, Told] = {}
        for file in files:
            outline = self.project.outline(file)
            functions = self.project.facts(file).functions if outline.coroutines or outline.routed else ()
            for at in outline.coroutines:
                func = functions[at]
                places[file, at] = func.line, func.qualname
                shape = self.by_shape(file, func)
                if shape is not None:
                    shaped[file, at] = shape
            for at in dict.fromkeys((*outline.coroutines, *outline.routed)):
                told = self.decorated(file, functions[at])
                if told is not None:
                    decorated[file, at] = told
        return Survey(places, decorated, self._registered(frozenset(files)), shaped, self.included)

    # --- decorators -----------------------------------------------------------------------------------

    def decorated(self, file: int, func: f.FunctionFacts) -> Told | None:
        """What the decorators of a function make it."""
        if not func.decorators or func.parent < 0:
            return None
        scope = self.r.activation(file, func.parent)
        for expr, _ in func.decorators:
            entry = scope.facts.exprs[expr] if expr >= 0 else ("",)
            call = scope.facts.calls[entry[1]] if entry[0] == "c" else None
            target = scope.facts.exprs[call.func] if call is not None and call.func >= 0 else entry
            if target[0] != "a":
                if (
                    target[0] in "nv"
                    and target[1] in _METHODS
                    and call is not None
                    and self._is_library(scope, call.func)
                ):
                    return "endpoint", f"{target[1].upper()} {self._path(scope, call)}"
                continue
            found = self._by_method(scope, target, call)
            if found is not None:
                return found
        return None

    def _is_library(self, scope: Activation, expr: int) -> bool:
        return any(v[0] == "O" and v[1].split(".")[0] in _FRAMEWORKS for v in self.r.evaluate(scope, expr))

    def _by_method(self, scope: Activation, target: f.Expr, call: f.Call | None) -> Told | None:
        name, receiver = target[2], target[1]
        if name not in _ROUTES and name not in ("middleware", "exception_handler", "on_event"):
            return None
        known = self.r.evaluate(scope, receiver)
        if (
            known
            and not any(v[0] == "O" and v[1].split(".")[0] in _FRAMEWORKS for v in known)
            and not self._is_app(known)
        ):
            return None
        if not known and call is None:
            return None
        if name == "middleware":
            return "middleware", ""
        if name == "exception_handler":
            return "exception-handler", ""
        if name == "on_event":
            return "lifespan", ""
        path = self._prefix(scope, receiver) + (self._path(scope, call) if call is not None else "")
        if not path.startswith("/") and not known:
            return None
        if name in ("websocket", "websocket_route"):
            return "websocket", f"WS {path or '/'}"
        method = name.upper() if name in _METHODS else self._verbs(scope, call)
        return "endpoint", f"{method} {path or '/'}"

    def _is_app(self, values: Values) -> bool:
        for value in values:
            if value[0] == "I":
                bases = self.r.classes.order((value[1], value[2]))[1]
                if any(base.split(".")[0] in _FRAMEWORKS for base in bases):
                    return True
        return False

    def _verbs(self, scope: Activation, call: f.Call | None) -> str:
        for name, value in call.keywords if call is not None else ():
            entry = scope.facts.exprs[value] if value >= 0 else ("",)
            if name == "methods" and entry[0] == "t":
                verbs = [scope.facts.exprs[e][1] for e in entry[1] if e >= 0 and scope.facts.exprs[e][0] == "k"]
                return ",".join(str(v) for v in verbs) or "GET"
        return "GET"

    def _path(self, scope: Activation, call: f.Call) -> str:
        candidates = [*call.args[:1], *(v for k, v in call.keywords if k in ("path", "prefix"))]
        for expr in candidates:
            entry = scope.facts.exprs[expr] if expr >= 0 else ("",)
            if entry[0] == "k" and isinstance(entry[1], str):
                return entry[1]
        return ""

    # --- prefixes -------------------------------------------------------------------------------------

    def _prefix(self, scope: Activation, receiver: int) -> str:
        key = self._router(scope, receiver)
        if key is None:
            return ""
        return self.included.get(key, "") + self._own_prefix(key)

    def _router(self, scope: Activation, expr: int) -> tuple[int, str] | None:
        """Where a router is defined: file and name."""
        entry = scope.facts.exprs[expr] if expr >= 0 else ("",)
        if entry[0] in "nv":
            bound = scope.func.names.get(entry[1]) or scope.facts.functions[0].names.get(entry[1])
            inner = scope.facts.exprs[bound[-1]] if bound and bound[-1] >= 0 else ("",)
            if inner[0] == "M":
                stem = (
                    self.project.relative(scope.file, inner[1], inner[3])
                    if inner[3]
                    else self.project.absolute(scope.file, inner[1])
                )
                file = self.project.module(stem) if stem is not None else None
                return (file, inner[2]) if file is not None else None
            return scope.file, entry[1]
        if entry[0] == "a":
            for value in self.r.evaluate(scope, entry[1]):
                file = self.project.module(value[1]) if value[0] == "M" else None
                if file is not None:
                    return file, entry[2]
        return None

    def _own_prefix(self, key: tuple[int, str]) -> str:
        facts = self.project.facts(key[0])
        for expr in facts.functions[0].names.get(key[1], ()):
            entry = facts.exprs[expr] if expr >= 0 else ("",)
            if entry[0] == "c":
                for name, value in facts.calls[entry[1]].keywords:
                    text = facts.exprs[value] if value >= 0 else ("",)
                    if name == "prefix" and text[0] == "k" and isinstance(text[1], str):
                        return text[1]
        return ""

    @cached_property
    def included(self) -> dict[tuple[int, str], str]:
        """Prefixes that ``include_router`` puts before a router's own."""
        if self._known is not None:
            return self._known
        found: dict[tuple[int, str], tuple[str, tuple[int, str] | None]] = {}
        for file, number in self.r.index.callers("include_router", 100_000):
            call = self.project.facts(file).calls[number]
            scope = self.r.entry(file, call.function)
            router = self._router(scope, call.args[0]) if call.args else None
            if router is None:
                continue
            prefix = ""
            for name, value in call.keywords:
                entry = scope.facts.exprs[value] if value >= 0 else ("",)
                if name == "prefix" and entry[0] == "k" and isinstance(entry[1], str):
                    prefix = entry[1]
            target = scope.facts.exprs[call.func]
            found[router] = prefix, self._router(scope, target[1])
        whole: dict[tuple[int, str], str] = {}
        for router in found:
            at: tuple[int, str] | None = router
            text, seen = "", set()
            while at is not None and at in found and at not in seen:
                seen.add(at)
                prefix, outer = found[at]
                text = (self._own_prefix(outer) if outer is not None else "") + prefix + text
                at = outer
            whole[router] = text
        return whole

    # --- registration ---------------------------------------------------------------------------------

    def _registered(self, files: Container[int]) -> dict[FunctionKey, Told]:
        """Functions that are handed to a framework by a call in these files."""
        found: dict[FunctionKey, Told] = {}
        for name, (kind, position) in _REGISTER.items():
            for file, number in self.r.index.callers(name, 100_000, files):
                call = self.project.facts(file).calls[number]
                at = position if len(call.args) > position else 0
                if name == "add_event_handler" and not self._is_startup(file, call):
                    continue
                handed = [
                    *call.args[at : at + 1],
                    *(v for k, v in call.keywords if k in ("endpoint", "dependency", "func")),
                ]
                scope = self.r.entry(file, call.function)
                for expr in handed:
                    for value in self.r.evaluate(scope, expr):
                        self._register(found, name, kind, value, self._path(scope, call))
        for name in ("FastAPI", "Starlette", "Litestar"):
            for file, number in self.r.index.callers(name, 100_000, files):
                call = self.project.facts(file).calls[number]
                for keyword, expr in call.keywords:
                    if keyword in ("lifespan", "on_startup", "on_shutdown"):
                        for value in self.r.evaluate(self.r.entry(file, call.function), expr):
                            self._register(found, name, "lifespan", value, "")
        return found

    def _is_startup(self, file: int, call: f.Call) -> bool:
        """Events of applications, not of anything else that has handlers."""
        facts = self.project.facts(file)
        entry = facts.exprs[call.args[0]] if call.args and call.args[0] >= 0 else ("",)
        return entry in (("k", "startup"), ("k", "shutdown"))

    def _register(
        self, found: dict[FunctionKey, Told], name: str, kind: str, value: tuple[object, ...], path: str
    ) -> None:
        if value[0] in ("R", "G", "W"):
            act = value[1]
            assert isinstance(act, Activation)
            key, label = (act.file, act.function), act.func.qualname
        elif value[0] == "F":
            assert isinstance(value[1], int) and isinstance(value[2], int)
            key = value[1], value[2]
            label = self.project.facts(key[0]).functions[key[1]].qualname
        else:
            return
        if kind == "endpoint":
            verb = name.removeprefix("add_").upper() if name.removeprefix("add_") in _METHODS else "route"
            label = f"{verb} {path or label}"
        elif kind == "websocket":
            label = f"WS {path or label}"
        else:
            label = f"{kind.replace('-', ' ')} {label}"
        put_first(found, key, (kind, label))

    def by_shape(self, file: int, func: f.FunctionFacts) -> Told | None:
        """ASGI and Starlette middleware, class-based endpoints, known by their base or signature."""
        if func.owner < 0:
            return None
        bases = self.r.classes.order((file, func.owner))[1]
        owner = self.project.facts(file).classes[func.owner].name
        if func.name == "dispatch" and any(base.endswith("BaseHTTPMiddleware") for base in bases):
            return "middleware", f"middleware {owner}"
        if func.name == "__call__" and [p.name for p in func.params[1:4]] == ["scope", "receive", "send"]:
            return "middleware", f"middleware {owner}"
        if func.name in _METHODS and any(
            base.rpartition(".")[2] in ("HTTPEndpoint", "View", "HTTPMethodView") for base in bases
        ):
            return "endpoint", f"{func.name.upper()} {owner}"
        return None


def put_first(found: dict[FunctionKey, Told], key: FunctionKey, told: Told) -> None:
    """Of several kinds of entrance that a function is, keep the one that people think of first."""
    known = found.get(key)
    if known is None or _KIND_ORDER.index(told[0]) < _KIND_ORDER.index(known[0]):
        found[key] = told
