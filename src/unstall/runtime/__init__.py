"""What lives in your process: `watch(app)` names every stall of the event loop while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unstall.runtime.asgi import Watched

__all__ = ["watch"]


def watch(
    app: Any,
    *,
    threshold_s: float | None = None,
    record: str | None = None,
    observer: bool | None = None,
) -> Watched:
    """Wrap an ASGI app so that every stall of its event loop is named, logged and recorded.

    ``threshold_s`` is the shortest stall reported (default ``UNSTALL_THRESHOLD`` or 0.1 s); ``record`` is
    the flight recorder's file (default ``UNSTALL_RECORD``, none where that is unset); ``observer=False``
    keeps everything in this process (default ``UNSTALL_OBSERVER``, on). Never raises into the app.

    >>> app = watch(app)  # doctest: +SKIP
    """
    from unstall.runtime.asgi import Watched
    from unstall.runtime.settings import settings_from

    return Watched(app, settings_from(threshold_s=threshold_s, record=record, observer=observer))
