"""Watching a server without touching its code: an environment in which every server that starts is watched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unstall.runtime.servers import PATCHES

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def environment(record: Path | None = None, threshold_s: float | None = None) -> dict[str, str]:
    """What to add to the environment of a command so that the servers it starts are watched.

    The folder put before ``PYTHONPATH`` holds a ``sitecustomize`` that runs the one it hides, if any.
    """
    before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != SITE]
    added = {"PYTHONPATH": os.pathsep.join([SITE, *before])}
    if record is not None:
        added["UNSTALL_RECORD"] = os.path.abspath(record)
    if threshold_s is not None:
        added["UNSTALL_THRESHOLD"] = repr(float(threshold_s))
    return added


def install() -> None:
    """Have the servers' modules patched as soon as they are imported; called from `sitecustomize`, perhaps twice."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    _count_workers()
    for name, patch in PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


def install_under_run() -> None:
    """The same for starters that run no other `sitecustomize`: opentelemetry-instrument calls this one itself."""
    if SITE in os.environ.get("PYTHONPATH", "").split(os.pathsep) and os.environ.get("UNSTALL_DISABLE") != "1":
        install()


def _count_workers() -> None:
    """Leave the server's number of workers where they find it: their own command line does not tell it."""
    arguments = sys.orig_argv
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--workers", "-w"):
            text = value or (arguments[i + 1] if i + 1 < len(arguments) else "")
            if text.isdigit():
                os.environ["UNSTALL_WORKERS"] = text


class _Finder:
    """Finds nothing itself: patches what the finders behind it load."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a server's module, its loader made to patch; None for any other."""
        patch = PATCHES.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _patch_after(spec, patch)
                return spec
        return None


def _patch_after(spec: ModuleSpec, patch: Callable[[ModuleType], None]) -> None:
    loader = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None:
        return

    def exec_module(module: ModuleType) -> None:
        run(module)
        try:
            patch(module)
        except Exception as error:
            sys.stderr.write(f"unstall: cannot watch {module.__name__}: {error}\n")

    loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
