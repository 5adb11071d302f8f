"""What a person may choose about watching, from arguments first, from the environment second."""

from __future__ import annotations

import math
import os
import signal
from typing import NamedTuple

THRESHOLD_S = 0.1
DEFAULT_HEALTH_PORT = 8099
"""Where manifests made by us send the probes; the observer listens there only where it is told to."""
LIVEZ, READYZ, STARTUPZ = "/livez", "/readyz", "/startupz"
"""The paths of the observer's port that the three probes ask."""


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


def settings_from(
    *, threshold_s: float | None = None, record: str | None = None, observer: bool | None = None
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
    )


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
