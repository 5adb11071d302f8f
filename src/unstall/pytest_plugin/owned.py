"""Which files are the project's own: all below its root, and the packages it is installed as."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path

import pytest

from unstall.runtime.own import OwnFiles


def own_files(config: pytest.Config) -> OwnFiles:
    """The files below pytest's root directory, the package that its pyproject.toml names, and ``unstall_own``."""
    said = [str(entry) for entry in config.getini("unstall_own")]
    roots = [folder for name in (*said, *_project(config.rootpath)) for folder in _folders(name, config.rootpath)]
    return OwnFiles(tuple(dict.fromkeys(roots)), (os.path.join(str(config.rootpath), ""),))


def _project(root: Path) -> tuple[str, ...]:
    """The project's name as a module; tests may run against an installed copy of it."""
    try:
        name = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return (name.replace("-", "_"),) if isinstance(name, str) and name.replace("-", "_").isidentifier() else ()


def _folders(name: str, root: Path) -> list[str]:
    """Where a package is, or a folder by its path."""
    if (root / name).is_dir():
        return [str(root / name)]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return list(spec.submodule_search_locations or ()) or ([spec.origin] if spec.origin else [])
