"""``[tool.unstall]`` of pyproject.toml."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from unstall.errors import BadInput

_LISTS = frozenset({"exclude", "select", "ignore", "extend-blocking", "offload", "allow"})
_TEXTS = frozenset({"app", "baseline", "entrances"})
_SWITCHES = frozenset({"notes", "tests"})
KEYS = tuple(sorted(_LISTS | _TEXTS | _SWITCHES))


def find_settings(start: Path) -> tuple[Path, dict[str, Any]] | None:
    """The nearest pyproject.toml at or above ``start`` that has a ``[tool.unstall]``, with its table.

    Raises:
        BadInput: the table has a key that is unknown or of the wrong kind; the message suggests the right one.
    """
    folder = start.resolve()
    for at in (folder, *folder.parents):
        path = at / "pyproject.toml"
        if path.is_file():
            try:
                document = tomllib.loads(path.read_text("utf-8"))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise BadInput(f"cannot read {path}: {error}") from None
            tool = document.get("tool", {})
            table = tool.get("unstall") if isinstance(tool, dict) else None
            if table is not None:
                _validate(path, table)
                return path, table
    return None


def _validate(path: Path, table: Any) -> None:
    if not isinstance(table, dict):
        raise BadInput(f"[tool.unstall] in {path} should be a table")
    for key, value in table.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(KEYS)}"
            raise BadInput(f"unknown key {key!r} in [tool.unstall] of {path}", hint)
        if key in _LISTS and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise BadInput(f"{key} in [tool.unstall] of {path} should be a list of strings")
        if key in _TEXTS and not isinstance(value, str):
            raise BadInput(f"{key} in [tool.unstall] of {path} should be a string")
        if key in _SWITCHES and not isinstance(value, bool):
            raise BadInput(f"{key} in [tool.unstall] of {path} should be true or false")
    if table.get("entrances", "all") not in ("all", "routes"):
        raise BadInput(f"entrances in [tool.unstall] of {path} should be all or routes")
