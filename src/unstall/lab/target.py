"""An app as people name it, found and looked at before anything is started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from unstall.errors import AppNotFound, BadInput
from unstall.lab.serve import own_frames

IMPORT_TIMEOUT_S = 60.0
HEALTH_PATHS = ("/livez", "/healthz", "/health", "/health/live", "/healthcheck", "/ping", "/-/health")


@dataclass(frozen=True, slots=True)
class Target:
    """One app: ``app`` as uvicorn takes it, the folder to run it in, and its routes as (method, path)."""

    app: str
    folder: Path
    routes: tuple[tuple[str, str], ...] = ()

    @property
    def callable_routes(self) -> tuple[tuple[str, str], ...]:
        """GET routes without parameters, the documentation pages left out."""
        return tuple(
            (method, path)
            for method, path in self.routes
            if method == "GET" and "{" not in path and not path.startswith(("/docs", "/redoc", "/openapi"))
        )

    def has(self, method: str, path: str) -> bool:
        """Whether some route could answer; path parameters match any one segment."""
        asked = path.split("?", 1)[0].split("/")
        return any(method == known and _matches(pattern.split("/"), asked) for known, pattern in self.routes)


def _matches(pattern: list[str], asked: list[str]) -> bool:
    if any(part.endswith(":path}") for part in pattern):
        return True
    return len(pattern) == len(asked) and all(
        want.startswith("{") or want == got for want, got in zip(pattern, asked, strict=True)
    )


def locate(name: str, folder: Path) -> Target:
    """Split what was typed: ``package.module:app``, ``path/to/file.py:app``, or a folder (see `same_app_in`).

    Raises:
        BadInput: it is neither.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon:
        place, attribute = name, "app"
    if place.endswith(".py"):
        file = (folder / place).resolve()
        if not file.is_file():
            raise BadInput(f"no file {place}", "give the app as package.module:app or path/to/file.py:app")
        root = file.parent
        while (root / "__init__.py").exists():
            root = root.parent
        return Target(".".join(file.relative_to(root).with_suffix("").parts) + ":" + attribute, root)
    if not colon or not place or os.sep in place:
        raise BadInput(f"{name} is not an app", "give the app as package.module:app or path/to/file.py:app")
    return Target(f"{place}:{attribute}", folder)


def same_app_in(name: str, first: Target, folder: Path) -> Target:
    """The other arm: another app, or a folder that holds another version of the same one."""
    other = folder / name
    if other.is_dir():
        return Target(first.app, other.resolve())
    return locate(name, folder)


async def inspect(target: Target, environment: tuple[tuple[str, str], ...], factory: bool) -> Target:
    """Import the app in a process of its own; return the target with its routes.

    Raises:
        AppNotFound: it cannot be imported or has no such attribute; with its own frames of the traceback.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "unstall.lab.inspect_app",
        target.app,
        *(["--factory"] if factory else []),
        cwd=target.folder,
        env={**os.environ, **dict(environment)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), IMPORT_TIMEOUT_S)
    except TimeoutError:
        raise AppNotFound(f"importing {target.app} took more than {IMPORT_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = out.decode(errors="replace").strip().splitlines()
    if not lines:
        raise AppNotFound(f"importing {target.app} ended the process:\n{_shown(err.decode(errors='replace'))}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        shown = _shown(answer.get("traceback", ""))
        raise AppNotFound(answer["error"] + (f"\n{shown}" if shown else ""), answer.get("hint"))
    return Target(target.app, target.folder, tuple((method, path) for method, path in answer["routes"]))


def _shown(traceback: str) -> str:
    return "\n".join("    " + line for line in own_frames(traceback.splitlines())[-20:])


def health_route(target: Target) -> str:
    """The path a liveness probe would ask, by the names people use.

    Raises:
        BadInput: the app has none of them; the hint names the flag.
    """
    for path in HEALTH_PATHS:
        if ("GET", path) in target.routes:
            return path
    known = ", ".join(path for _, path in target.callable_routes[:6]) or "none without parameters"
    raise BadInput(
        f"{target.app} has no health route ({', '.join(HEALTH_PATHS[:3])}, ...)",
        f'say what the liveness probe asks: --liveness "GET /path" (routes: {known})',
    )
