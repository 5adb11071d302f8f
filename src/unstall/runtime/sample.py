"""One look at the loop's thread from within the process: its frames, and the request they serve."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections.abc import Container, Mapping
from types import CodeType, FrameType
from typing import Any, TypeGuard

from unstall.runtime.calls import called
from unstall.runtime.evidence import Sample
from unstall.runtime.naming import route_of

DEPTH = 100
CURRENT: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("unstall", default=None)


def sample(
    now: float, thread: int, loop: asyncio.AbstractEventLoop, own: Container[str], wrapper: CodeType
) -> Sample | None:
    """Look at the thread once; None where it has no frame."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return None
    try:
        scope, proof = _request(frame, loop, wrapper)
        stack = _stack(frame, own)
        call = _call(frame, own)
    finally:
        # A frame kept alive would keep the request's locals alive with it.
        del frame
    return Sample(now, stack, route_of(scope) if scope is not None else None, proof, call)


def _stack(frame: FrameType | None, own: Container[str]) -> tuple[tuple[str, int, str, bool], ...]:
    lines: list[tuple[str, int, str, bool]] = []
    while frame is not None and len(lines) < DEPTH:
        code = frame.f_code
        path = code.co_filename
        lines.append((path, frame.f_lineno or code.co_firstlineno, code.co_qualname, path in own))
        frame = frame.f_back
    return tuple(lines)


def _call(frame: FrameType | None, own: Container[str]) -> str | None:
    """What the first own line calls."""
    while frame is not None:
        if frame.f_code.co_filename in own:
            try:
                return called(frame)
            except Exception:  # the app's own objects may answer anything
                return None
        frame = frame.f_back
    return None


def _request(
    frame: FrameType, loop: asyncio.AbstractEventLoop, wrapper: CodeType
) -> tuple[Mapping[str, Any] | None, str | None]:
    """The request that the frames serve, in order of proof."""
    found: Mapping[str, Any] | None = None
    served: Any = None
    handle: Any = None
    walk: FrameType | None = frame
    while walk is not None:
        code = walk.f_code
        if code is wrapper:
            scope = walk.f_locals.get("scope")
            # The framework's own copy, nearer to the culprit, has the route; the wrapper's may not.
            return (found if found is not None and "route" in found else scope), "frame"
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if (found is None or "route" not in found) and "scope" in names:
            scope = walk.f_locals.get("scope")
            if _is_scope(scope) and (found is None or "route" in scope):
                found = scope
        elif found is None and code.co_name == "run_asgi":  # uvicorn's own: above an app with names of its own
            served = getattr(walk.f_locals.get("self"), "scope", None)
        if code.co_name == "_run" and code.co_filename.endswith("asyncio/events.py"):
            handle = walk.f_locals.get("self")
        walk = walk.f_back
    if found is None and _is_scope(served):
        found = served
    return (found, "frame") if found is not None else _by_context(loop, handle)


def _is_scope(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict) and value.get("type") in ("http", "websocket", "lifespan")


def _by_context(loop: asyncio.AbstractEventLoop, handle: Any) -> tuple[Mapping[str, Any] | None, str | None]:
    task = asyncio.current_task(loop)
    scope = _in_context(context_of(task)) if task is not None else None
    if scope is not None:
        return scope, "task"
    scope = _in_context(getattr(handle, "_context", None))
    return (scope, "callback") if scope is not None else (None, None)


def context_of(task: Any) -> contextvars.Context | None:
    getter = getattr(task, "get_context", None)
    if getter is not None:
        context: contextvars.Context | None = getter()
        return context
    # Before 3.12 a task does not tell its context, but the garbage collector knows what it refers to.
    return next((o for o in gc.get_referents(task) if isinstance(o, contextvars.Context)), None)


def _in_context(context: contextvars.Context | None) -> Mapping[str, Any] | None:
    return context.get(CURRENT) if context is not None else None
