"""Where an app's own code lives, told by where its endpoints come from."""

from __future__ import annotations

import os
import sys
from typing import Any

from unstall.runtime.dialects import spots
from unstall.runtime.own import OwnFiles, installed, started_in

ENDPOINTS = 2000
_FRAMEWORKS = frozenset({"fastapi", "starlette", "litestar", "quart", "flask", "django", "aiohttp"})


def own_files(app: Any) -> OwnFiles:
    """The files below the working folder and below each endpoint's package; an app that is itself installed too.

    Of installed packages only the one that most endpoints come from counts, and only where none come from
    elsewhere: a library's login pages do not make the library the application's own.
    """
    folders: dict[str, int] = {}
    try:
        for number, spot in enumerate(spots(app)):
            folder = _home(spot.functions[0]) if spot.functions else None
            if folder is not None:
                folders[folder] = folders.get(folder, 0) + 1
            if number >= ENDPOINTS:
                break
    except Exception:  # somebody else's data: what was read so far stands
        pass
    elsewhere = tuple(os.path.join(folder, "") for folder in folders if not installed(folder))
    roots = (max(folders, key=lambda folder: folders[folder]),) if folders and not elsewhere else ()
    return OwnFiles(roots, (*started_in(), *elsewhere))


def _home(function: Any) -> str | None:
    """The folder of the package, or of the module, that a function was written in."""
    name = str(getattr(function, "__module__", None) or "").partition(".")[0]
    if not name or name in _FRAMEWORKS:
        return None
    module = sys.modules.get(name)
    for folder in list(getattr(module, "__path__", ()))[:1]:
        return os.path.abspath(str(folder))
    path: str | None = getattr(module, "__file__", None)
    return os.path.dirname(os.path.abspath(path)) if path and not installed(path) else None
