"""A finished stall as one entry in the app's own logging."""

from __future__ import annotations

import logging
from typing import Any

from unstall.runtime.story import Limit, largest, sentence, site_key
from unstall.runtime.thread_pool import sentence as pool_sentence


def log_stall(log: logging.Logger, limit: Limit, record: dict[str, Any], now: float) -> None:
    """One warning with fields, at most one per site and minute; the rest is counted in the next."""
    allowed, hidden = limit.allows(site_key(record), now)
    if not allowed:
        return
    cause = largest(record["cause"]) if record.get("cause") else ""
    text = sentence(f"event loop blocked {record['duration_s']:.2f} s", record)
    fields = {f"stall_{key}": record.get(key) for key in _FIELDS}
    fields["stall_not_logged"] = hidden
    log.warning("%s", "  ".join(part for part in (text, cause) if part), extra=fields)


def log_pool(log: logging.Logger, record: dict[str, Any]) -> None:
    """One warning with fields: the thread pool is full, and who holds it."""
    log.warning("%s", pool_sentence(record), extra={f"pool_{key}": value for key, value in record.items()})


_FIELDS = (
    "duration_s", "started_at", "route", "route_proof", "site", "stack", "call", "rule", "remedy", "cause",
    "blame", "in_flight",
)  # fmt: skip
