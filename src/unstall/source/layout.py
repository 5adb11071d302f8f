"""How a call that grew is laid out: on its line where it fits, else as black and ruff would wrap it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from unstall.source.trees import Tree

_CONFIGURED = re.compile(r"^\s*(?:line[-_]length|max[-_]line[-_]length)\s*=\s*(\d+)", re.MULTILINE)
_FILES = ("pyproject.toml", "ruff.toml", ".ruff.toml", "setup.cfg", ".flake8", "tox.ini")
_ENDS = re.compile(r"(?:\.\w+\([^()]*\))?:?\s*")
_DEFAULT, _LONGEST = 88, 120


def line_length(root: Path) -> int | None:
    """The length of a line that the project's formatter or linter is told; None where none is."""
    for name in _FILES:
        try:
            found = _CONFIGURED.search((root / name).read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return int(found[1])
    return None


def allowed(tree: Tree, configured: int | None) -> int:
    """How long a line of this file may become: as configured, else as long as the file's own lines are."""
    if configured is not None:
        return configured
    return min(max([_DEFAULT, *(len(line.rstrip()) for line in tree.lines)]), _LONGEST)


def arguments(call: ast.Call) -> list[tuple[ast.expr, ast.keyword | None]]:
    """A call's arguments in the order of source, with their keywords."""
    every: list[tuple[ast.expr, ast.keyword | None]] = [(arg, None) for arg in call.args]
    every += [(k.value, k) for k in call.keywords]
    return sorted(every, key=lambda pair: (pair[0].lineno, pair[0].col_offset))


def gaps(tree: Tree, call: ast.Call, around: int, most: int) -> tuple[str, str, str] | None:
    """For a call on one line that outgrows it: what stands before what is called, between the arguments and at the end.

    ``around`` is how many characters come with what it is handed to. None where it fits, or stands amid other things.
    """
    first, last = tree.start(call), tree.end(call)
    line = tree.lines[call.lineno - 1].rstrip("\r\n")
    rest = tree.text[last : tree.line_start(call.lineno) + len(line)]
    # In the middle of a longer expression only a formatter can do it well.
    if not _ENDS.fullmatch(rest):
        return None
    if call.lineno != call.end_lineno or len(line) + around <= most or not (call.args or call.keywords):
        return None
    if isinstance(call.args[0] if call.args else None, ast.GeneratorExp) and len(call.args) == 1:
        return None
    statement = tree.statement(call)
    indent = tree.indent(statement.lineno)
    if call.lineno != statement.lineno:
        indent = tree.indent(call.lineno)
    inner = indent + tree.unit
    nl = tree.newline
    width = len(inner) + (last - first) + 1
    if width <= most:
        return nl + inner, ", ", nl + indent
    return nl + inner, "," + nl + inner, "," + nl + indent
