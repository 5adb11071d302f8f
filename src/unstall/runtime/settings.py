"""What a person may choose about watching, from arguments first, from the environment second."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

from unstall.runtime.places import DEFAULT_HEALTH_PORT, LIVEZ, READYZ, STARTUPZ  # noqa: F401

THRESHOLD_S = 0.1
DEAD_AFTER_S, BUSY_AFTER_S = 60.0, 2.0
"""How long without a sign of the loop until /livez, how long blocked until /readyz answers 503."""


class Settings(NamedTuple):
    """The choices of one process. ``record`` empty means no flight recorder."""

    threshold_s: float = THRESHOLD_S
    record: str = ""
    observer: bool = True
    signal: int = 0
    """The capture signal; 0 means none."""
    termination_log: str = "/dev/termination-log"
    log_format: str = "text"
    """How the observer writes to stderr: text, json or off."""
    health_port: int = 0
    """Where the observer answers probes; 0 means nowhere."""
    dead_after_s: float = DEAD_AFTER_S
    busy_after_s: float = BUSY_AFTER_S
    stalls_from: str = "loopback"
    """Who may read /stalls: loopback or any."""
    sinks: tuple[Any, ...] = ()
    """Names of sinks, and functions that are called with each stall's record."""


def settings_from(
    *,
    threshold_s: float | None = None,
    record: str | None = None,
    observer: bool | None = None,
    health_port: int | None = None,
    dead_after_s: float | None = None,
    busy_after_s: float | None = None,
    sinks: Sequence[Any] | None = None,
) -> Settings:
    """Settings for this process; a value that cannot be read falls back to its default, since an app must start."""
    if threshold_s is None:
        threshold_s = _number(os.environ.get("UNSTALL_THRESHOLD"), THRESHOLD_S)
    if not (math.isfinite(threshold_s) and threshold_s > 0):
        threshold_s = THRESHOLD_S
    if record is None:
        record = os.environ.get("UNSTALL_RECORD", "")
    if observer is None:
        observer = os.environ.get("UNSTALL_OBSERVER", "1").lower() not in ("0", "off", "false", "no")
    log_format = os.environ.get("UNSTALL_LOG", "text")
    return Settings(
        # Below two beats a stall cannot be told from a beat that is not due yet.
        threshold_s=max(threshold_s, 0.04),
        record=os.fspath(record),
        observer=observer,
        signal=_signal(os.environ.get("UNSTALL_SIGNAL")),
        termination_log=os.environ.get("UNSTALL_TERMINATION_LOG", "/dev/termination-log"),
        log_format=log_format if log_format in ("text", "json", "off") else "text",
        health_port=_port(health_port),
        dead_after_s=_seconds(dead_after_s, "UNSTALL_DEAD_AFTER", DEAD_AFTER_S),
        busy_after_s=_seconds(busy_after_s, "UNSTALL_BUSY_AFTER", BUSY_AFTER_S),
        stalls_from="any" if os.environ.get("UNSTALL_STALLS", "").lower() == "any" else "loopback",
        sinks=_sinks(sinks),
    )


def _port(given: int | None) -> int:
    text = os.environ.get("UNSTALL_HEALTH_PORT", "") if given is None else str(given)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else 0


def _seconds(given: float | None, variable: str, otherwise: float) -> float:
    found = _number(os.environ.get(variable), otherwise) if given is None else given
    return found if math.isfinite(found) and found > 0 else otherwise


def _sinks(given: Sequence[Any] | None) -> tuple[Any, ...]:
    if given is None:
        given = [name.strip() for name in os.environ.get("UNSTALL_SINKS", "").split(",") if name.strip()]
    return (given,) if isinstance(given, str) or callable(given) else tuple(given)


def _number(text: str | None, otherwise: float) -> float:
    try:
        return float(text) if text else otherwise
    except ValueError:
        return otherwise


def _signal(text: str | None) -> int:
    """A signal by name or number; 0 switches capture by signal off."""
    if not text:
        return int(getattr(signal, "SIGUSR2", 0))
    if text.lower() in ("0", "off", "none", "no"):
        return 0
    name = text.upper() if text.upper().startswith("SIG") else "SIG" + text.upper()
    number = getattr(signal, name, None)
    if number is not None:
        return int(number)
    try:
        return int(signal.Signals(int(text)))
    except ValueError:
        return int(getattr(signal, "SIGUSR2", 0))
