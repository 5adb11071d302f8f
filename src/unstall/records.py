"""Nouns to JSON and back, by one function each, with a schema number."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from unstall import model
from unstall.errors import BadFile

SCHEMA = 1
T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn a noun into dicts, lists and scalars; fields at their default are left out.

    A union member is tagged with its class name under ``"is"``; NaN and infinities become None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {"is": type(value).__name__} if type(value) in _TAGGED else {}
        for f in dataclasses.fields(value):
            item = getattr(value, f.name)
            if f.default is dataclasses.MISSING or item != f.default:
                plain[f.name] = to_plain(item)
        return plain
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


_TAGGED = {model.HttpGet, model.TcpSocket, model.Exec, model.Grpc}
_BY_TAG = {cls.__name__: cls for cls in _TAGGED}


def from_plain(kind: type[T], plain: Any) -> T:
    """The inverse of `to_plain` for one noun. Unknown keys are ignored, so that older and patched files read.

    Raises:
        BadFile: a value has the wrong shape; the message names the field.
    """
    built: T = _build(kind, plain, kind.__name__)
    return built


def _build(kind: Any, plain: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        if isinstance(plain, dict) and plain.get("is") in _BY_TAG:
            return _build(_BY_TAG[plain["is"]], plain, where)
        fits = [a for a in arguments if isinstance(a, type) and type(plain) is a]
        return _build(fits[0] if fits else next(a for a in arguments if a is not type(None)), plain, where)
    if origin is tuple:
        if not isinstance(plain, list):
            raise BadFile(f"{where} should be a list, not {type(plain).__name__}")
        if arguments[-1] is Ellipsis:
            return tuple(_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(plain))
        return tuple(_build(a, item, where) for a, item in zip(arguments, plain, strict=True))
    if dataclasses.is_dataclass(kind):
        if not isinstance(plain, dict):
            raise BadFile(f"{where} should be an object, not {type(plain).__name__}")
        noun: Any = kind
        hints = _hints(noun)
        names = [f.name for f in dataclasses.fields(noun) if f.name in plain]
        try:
            return noun(**{name: _build(hints[name], plain[name], f"{where}.{name}") for name in names})
        except TypeError as error:
            raise BadFile(f"{where} is incomplete: {error}") from None
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(plain)
        except ValueError:
            raise BadFile(f"{where} is {plain!r}, not one of {', '.join(kind)}") from None
    if kind is float:
        if plain is None:
            return math.nan
        if not isinstance(plain, int | float):
            raise BadFile(f"{where} should be a number, not {type(plain).__name__}")
        return float(plain)
    if isinstance(kind, type) and (not isinstance(plain, kind) or (kind is int and isinstance(plain, bool))):
        raise BadFile(f"{where} should be {kind.__name__}, not {type(plain).__name__}")
    return plain


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def write_report(report: model.LabReport, path: Path) -> None:
    """Write the whole result as JSON, schema number first; atomically, so that a kill leaves no half file."""
    text = json.dumps({"schema": SCHEMA, **to_plain(report)}, separators=(",", ":"), allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def read_report(path: Path) -> model.LabReport:
    """Read a result of this or any older schema.

    Raises:
        BadFile: not ours, damaged, or written by a newer unstall (the message names the version to install).
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BadFile(f"{path} is not JSON: {error}") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
        raise BadFile(f"{path} is not a result of `unstall lab --json`: it has no schema number")
    if plain["schema"] > SCHEMA:
        raise BadFile(
            f"{path} has schema {plain['schema']}; this unstall reads up to {SCHEMA}",
            f"install unstall {plain.get('version', 'of the same age')} or newer",
        )
    return from_plain(model.LabReport, plain)
