"""Reads what the server's own watching recorded and puts it on the trial's clock."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unstall.model import Cause, Frame, Site, Stall

AROUND = 3


def read_stalls(
    record: Path, zero: float, until: float, lives: Sequence[tuple[float, float]], folder: Path
) -> tuple[Stall, ...]:
    """The stalls in a record file, in order.

    ``zero`` is the monotonic time of the trial's zero and ``until`` its end on the trial's clock; ``lives`` are
    the container's lives: a stall that has a beginning but no end lasted until the end of the life it began in.
    Lines that a kill cut short are skipped.
    """
    open_stalls: dict[tuple[int, float], dict[str, Any]] = {}
    closed: dict[tuple[int, float], dict[str, Any]] = {}
    for event in _events(record):
        if event.get("event") not in ("stall_began", "stall_update", "stall_ended") or "monotonic" not in event:
            continue
        key = (int(event["pid"]), round(float(event["monotonic"]), 3))
        if event["event"] == "stall_ended":
            closed[key] = {**open_stalls.pop(key, {}), **_known(event)}
        else:
            open_stalls[key] = {**open_stalls.get(key, {}), **_known(event)}
    stalls = [_stall(event, zero, float(event["duration_s"]), True, folder) for event in closed.values()]
    for event in open_stalls.values():
        began = float(event["monotonic"]) - zero
        end = next((to for start, to in lives if start <= began <= to), until)
        stalls.append(_stall(event, zero, max(end - began, 0.0), end == until, folder))
    return tuple(sorted((s for s in stalls if 0.0 <= s.started_at <= until), key=lambda stall: stall.started_at))


def _events(record: Path) -> list[dict[str, Any]]:
    if not record.exists():
        return []
    events = []
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _known(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if value not in (None, [], {})}


def _stall(event: dict[str, Any], zero: float, duration_s: float, ended: bool, folder: Path) -> Stall:
    site = _site(event.get("site"), folder)
    source, first = _source(site, folder)
    return Stall(
        started_at=float(event["monotonic"]) - zero,
        duration_s=duration_s,
        ended=ended,
        site=site,
        stack=tuple(_frame(frame, folder) for frame in event.get("stack", [])),
        route=event.get("route"),
        route_proof=event.get("route_proof"),
        in_flight=tuple(_label(one) for one in event.get("in_flight", [])),
        rule=event.get("rule"),
        blame=event.get("blame", "code"),
        cause=_cause(event.get("cause")),
        source=source,
        source_line=first,
        worker=int(event["pid"]),
    )


def _site(plain: Any, folder: Path) -> Site | None:
    if not isinstance(plain, dict):
        return None
    return Site(_relative(str(plain["path"]), folder), int(plain["line"]), qualname=str(plain.get("function", "")))


def _frame(plain: Any, folder: Path) -> Frame:
    path = str(plain["path"])
    return Frame(_relative(path, folder), int(plain["line"]), str(plain.get("function", "")), bool(plain.get("own")))


def _relative(path: str, folder: Path) -> str:
    """The path below the app's folder; a library's below its site-packages, the interpreter's below its own."""
    try:
        return str(Path(path).resolve().relative_to(folder.resolve()))
    except ValueError:
        return re.split(r"[/\\](?:site-packages|dist-packages|lib[/\\]python3\.\d+t?)[/\\]", path)[-1]


def _label(one: Any) -> str:
    return str(one.get("route", one)) if isinstance(one, dict) else str(one)


def _cause(plain: Any) -> Cause | None:
    if not isinstance(plain, dict):
        return None
    known = {key: float(value) for key, value in plain.items() if key in Cause.__slots__ and value is not None}
    return Cause(**known) if known else None


def _source(site: Site | None, folder: Path) -> tuple[tuple[str, ...], int]:
    if site is None:
        return (), 0
    try:
        lines = (folder / site.path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return (), 0
    first = max(1, site.line - AROUND)
    return tuple(lines[first - 1 : site.line + AROUND]), first
