"""From the frames above a blocking call to a finding: what was called, from which of your lines, and whether it counts."""

from __future__ import annotations

import os
import sys
from asyncio import base_events, events
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import FrameType

from unstall.catalogue import Catalogue, Row
from unstall.model import CallChain, Entrance, Finding, Site, Step
from unstall.pytest_plugin.listening import Told
from unstall.runtime.own import OwnFiles

SEVERITIES = {"U": "error", "L": "warning", "S": "note"}

HARNESS = frozenset(
    [
        "_pytest",
        "pytest",
        "pluggy",
        "xdist",
        "execnet",
        "hypothesis",
        "coverage",
        "syrupy",
        "inline_snapshot",
        "snapshottest",
        "vcr",
        "freezegun",
        "time_machine",
        "responses",
        "respx",
        "unittest",
        "doctest",
        "faulthandler",
        "tracemalloc",
        "approvaltests",
        "pytest_cov",
    ]
)
"""What calls on behalf of the test and not of the code under it; and everything named ``pytest_...``."""
DEBUGGERS = frozenset(
    ["pdb", "bdb", "cmd", "code", "ipdb", "pudb", "pydevd", "_pydevd_bundle", "debugpy", "IPython", "rpdb", "web_pdb"]
)
TEST_CLIENTS = (
    "starlette.testclient",
    "fastapi.testclient",
    "litestar.testing",
    "anyio.pytest_plugin",
    "flask.testing",
    "werkzeug.test",
    "django.test",
)
"""Synchronous clients that run an app in a loop of their own: the test waits for them, the app does not."""
READERS = frozenset(
    [
        "linecache",
        "tokenize",
        "warnings",
        "traceback",
        "inspect",
        "zipimport",
        "pkgutil",
        "runpy",
        "gettext",
        "locale",
        "encodings",
        "weakref",
        "_weakrefset",
        "importlib",
        "asyncio",
    ]
)
"""Standard library modules that read files, clean up or start threads where no line of anybody's asks for it."""

_LOOP_CODES = frozenset(
    getattr(base_events.BaseEventLoop, name).__code__
    for name in ("run_forever", "_run_once", "run_until_complete", "_run_forever_setup")
    if hasattr(base_events.BaseEventLoop, name)
)
_CALLBACK = getattr(events.Handle, "_run").__code__  # noqa: B009


_TELLS_TERMINALS = ("threading.", "open()", "os.read")


class Reader:
    """Reads chains for one project: ``root`` is what paths are shown from, ``own`` tells its files."""

    def __init__(self, root: str, own: OwnFiles, catalogue: Catalogue, notes: bool) -> None:
        self.root = os.path.join(root, "")
        self.own = own
        self.catalogue = catalogue
        self.notes = notes

    def finding(self, told: Told, frame: FrameType, test: str, boundary: FrameType | None) -> Finding | None:
        """The finding that this call is; None where it does not count."""
        walk = self._walk(told, frame, boundary)
        if walk is None:
            return None
        own, between = walk
        row = self._row(told, between)
        if row is None or (row.duration == "S" and not self.notes):
            return None
        frames = own or [at for at in between if not _standard(_module(at))][:1]
        sites = tuple(self.site(f) for f in reversed(frames)) or (Site("a callback of the loop", 0, 1, row.name),)
        callees = (*(site.qualname.rpartition(".")[2] for site in sites[1:]), row.name)
        steps = tuple(Step(site, callee) for site, callee in zip(sites, callees, strict=True))
        chain = CallChain(Entrance("coroutine", test, sites[0]), steps, row.primitive())
        site = sites[-1]
        key = f"{site.path}::{site.qualname}::{row.rule}::{row.name}"
        severity = SEVERITIES[row.duration]
        return Finding(row.rule, severity, site, row.primitive(), (chain,), key, row.remedy or None)

    def _walk(
        self, told: Told, frame: FrameType, boundary: FrameType | None
    ) -> tuple[list[FrameType], list[FrameType]] | None:
        """Own frames and the library's frames below them, innermost first; None where the call does not count."""
        own: list[FrameType] = []
        between: list[FrameType] = []
        for at in up_to_loop(frame, boundary):
            module = _module(at)
            if module.startswith("unstall.pytest_plugin."):
                continue
            is_own = at.f_code.co_filename in self.own
            if module.startswith("importlib._bootstrap") or (not is_own and module.partition(".")[0] in DEBUGGERS):
                return None
            if own:
                if is_own:
                    own.append(at)
                continue
            if _harness(module, told) or (not is_own and at.f_code.co_name == "__del__"):
                return None
            (own if is_own else between).append(at)
        if not own and between and all(_standard(_module(at)) for at in between):
            return None  # The loop's own affairs.
        return own, between

    def _row(self, told: Told, between: list[FrameType]) -> Row | None:
        """The outermost call of the catalogue below the first own line; None where that is known as cheap."""
        primitive = self.catalogue.find(told.origin)
        if primitive is None:
            return None
        chosen = primitive
        for at in between:
            row = next((found for origin in origins_of(at) if (found := self.catalogue.find(origin))), None)
            if row is None:
                continue
            if row.duration != "0":
                chosen = row
            elif primitive.family == "lock" and row.family == "lock":
                return None
        if told.proved and chosen.duration == "S" and chosen.family == primitive.family:
            return replace(chosen, duration="U")
        return chosen

    def site(self, frame: FrameType) -> Site:
        """The line that a frame is at, its path as people write it."""
        return self.site_of(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname)

    def site_of(self, path: str, line: int, qualname: str) -> Site:
        """The same from a frame's parts."""
        return Site(self.shown(path), line, 1, qualname.replace(".<locals>", ""))

    def shown(self, path: str) -> str:
        """A path from the project's root, or from where packages are installed."""
        path = os.path.abspath(path)
        for start in (
            self.root,
            *(os.path.join(entry, "") for entry in sorted(sys.path, key=len, reverse=True) if entry),
        ):
            if path.startswith(start):
                path = path[len(start) :]
                break
        return path.replace(os.sep, "/").rpartition("site-packages/")[2]


def up_to_loop(frame: FrameType | None, boundary: FrameType | None) -> Iterator[FrameType]:
    """The frames from this one up to the loop that runs them."""
    while frame is not None and frame is not boundary:
        if frame.f_code in _LOOP_CODES or frame.f_code is _CALLBACK:
            return
        yield frame
        frame = frame.f_back


def origins_of(frame: FrameType) -> tuple[str, ...]:
    """The catalogue's paths of the function that a frame runs: where it is written, and as packages re-export it."""
    code = frame.f_code
    module = _module(frame)
    scope, _, name = code.co_qualname.rpartition(".")
    if not scope or scope.endswith("<locals>"):
        said = code.co_qualname
    elif name == "__init__":
        said = scope
    else:
        bound = "()" if code.co_argcount and code.co_varnames[:1] == ("self",) else ""
        said = f"{scope}{bound}.{name}"
    return tuple(dict.fromkeys(f"{where}.{said}" for where in (module, module.partition(".")[0])))


def counts(places: Iterable[tuple[str, str, int, str]], own: OwnFiles) -> bool:
    """False where a stall is a debugger's, an import's or the harness's; ``places`` are innermost first."""
    harness_first = False
    for at, (module, path, _, _) in enumerate(places):
        root = module.partition(".")[0]
        if module.startswith("importlib._bootstrap") or (path not in own and root in DEBUGGERS):
            return False
        if not any(p in own for _, p, _, _ in list(places)[:at]):
            harness_first = harness_first or root in HARNESS or root.startswith("pytest_")
    return not harness_first


def _harness(module: str, told: Told) -> bool:
    root = module.partition(".")[0]
    if module == "logging":
        # Its locks, and what it writes to a terminal or a file: not what its handlers send over the network.
        return told.origin.startswith(_TELLS_TERMINALS)
    return root in HARNESS or root in READERS or root.startswith("pytest_") or module.startswith(TEST_CLIENTS)


def _module(frame: FrameType) -> str:
    return frame.f_globals.get("__name__") or ""


def _standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names
