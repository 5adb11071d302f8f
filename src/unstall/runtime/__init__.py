"""What lives in your process: `watch(app)` names every stall of the event loop while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unstall.runtime.asgi import Watched

__all__ = ["watch"]


def watch(
    app: Any,
    *,
    threshold_s: float | None = None,
    record: str | None = None,
    observer: bool | None = None,
    health_port: int | None = None,
    dead_after_s: float | None = None,
    busy_after_s: float | None = None,
    sinks: Sequence[str | Callable[[dict[str, Any]], None]] | None = None,
) -> Watched:
    """Wrap an ASGI app so that every stall of its event loop is named, logged and recorded.

    ``threshold_s`` is the shortest stall reported (default ``UNSTALL_THRESHOLD`` or 0.1 s); ``record`` is
    the flight recorder's file (default ``UNSTALL_RECORD``, none where that is unset); ``observer=False``
    keeps everything in this process (default ``UNSTALL_OBSERVER``, on). Never raises into the app.

    ``health_port`` is where the observer answers /livez, /readyz, /startupz, /metrics and /stalls (default
    ``UNSTALL_HEALTH_PORT``, nowhere): /livez fails after ``dead_after_s`` without a sign of the loop (60 s), /readyz
    after ``busy_after_s`` of a blocked loop or a full thread pool (2 s). ``sinks`` get every stall: ``"prometheus"``,
    ``"otel"``, or functions of its record.

    >>> app = watch(app)  # doctest: +SKIP
    """
    from unstall.runtime.asgi import Watched
    from unstall.runtime.settings import settings_from

    settings = settings_from(
        threshold_s=threshold_s,
        record=record,
        observer=observer,
        health_port=health_port,
        dead_after_s=dead_after_s,
        busy_after_s=busy_after_s,
        sinks=sinks,
    )
    return Watched(app, settings)
