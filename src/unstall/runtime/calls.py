"""What a running frame is calling, as an origin path: ``time.sleep``, ``requests.sessions.Session().get``."""

from __future__ import annotations

import ast
import linecache
from types import FrameType, ModuleType
from typing import Any

_MISSING = object()


def called(frame: FrameType) -> str | None:
    """The call that the frame waits for; None where its source or its names do not tell."""
    segment = _segment(frame)
    if segment is None:
        return None
    try:
        tree = compile(segment, "<call>", "eval", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    node = tree.body  # type: ignore[attr-defined]
    if isinstance(node, ast.Await):
        node = node.value
    if not isinstance(node, ast.Call):
        return None
    return _origin(node.func, frame)


def _segment(frame: FrameType) -> str | None:
    """The source text of the expression that is being evaluated."""
    code, at = frame.f_code, frame.f_lasti // 2
    position = next((p for i, p in enumerate(code.co_positions()) if i == at), None)
    if position is None or None in position:
        return None
    first, last, start, end = position
    if first is None or last is None or last - first > 30:
        return None
    lines = [linecache.getline(code.co_filename, n, frame.f_globals).encode() for n in range(first, last + 1)]
    if not lines or not all(lines):
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return b"".join(lines).decode("utf-8", "replace")


def _origin(node: ast.expr, frame: FrameType) -> str | None:
    if isinstance(node, ast.Name):
        value = _lookup(node.id, frame)
        return None if value is _MISSING else _name(value)
    if isinstance(node, ast.Attribute):
        base = _value(node.value, frame)
        if base is _MISSING:
            origin = _origin_of_call(node.value, frame)
            return f"{origin}().{node.attr}" if origin else None
        if isinstance(base, ModuleType | type):
            member = vars(base).get(node.attr, _MISSING)
            if isinstance(base, ModuleType) and member is not _MISSING and callable(member):
                return _name(member)
        name = _name(base)
        return f"{name}.{node.attr}" if name else None
    return None


def _origin_of_call(node: ast.expr, frame: FrameType) -> str | None:
    return _origin(node.func, frame) if isinstance(node, ast.Call) else None


def _value(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name or a chain of plain attributes, without running any code of the app."""
    if isinstance(node, ast.Name):
        return _lookup(node.id, frame)
    if isinstance(node, ast.Attribute):
        base = _value(node.value, frame)
        if base is not _MISSING:
            return getattr(base, "__dict__", {}).get(node.attr, _MISSING)
    return _MISSING


def _lookup(name: str, frame: FrameType) -> Any:
    for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if name in names:
            return names[name]
    return _MISSING


def _name(value: Any) -> str | None:
    """``module.qualname`` of a function or class, with ``()`` after it for an instance."""
    if isinstance(value, ModuleType):
        return value.__name__
    kind, suffix = (value, "") if isinstance(value, type) or hasattr(value, "__qualname__") else (type(value), "()")
    qualname = getattr(kind, "__qualname__", None)
    module = getattr(kind, "__module__", None)
    if not isinstance(qualname, str) or "<locals>" in qualname:
        return None
    owner = getattr(kind, "__self__", None)
    if not module and isinstance(owner, ModuleType):
        module = owner.__name__
    if owner is not None and not isinstance(owner, ModuleType | type):
        holder = type(owner)
        return f"{holder.__module__}.{holder.__qualname__}().{value.__name__}{suffix}"
    return f"{module}.{qualname}{suffix}" if module and module != "builtins" else qualname + suffix
