"""Which of a server's workers this process is."""

from __future__ import annotations

import os
import sys


def worker_number() -> int:
    """Which worker of its parent this process is, from 1; 0 where it is the only one."""
    told = os.environ.get("UNSTALL_WORKER", "")
    if told.isdigit():
        return int(told)
    processes = sys.modules.get("multiprocessing.process")
    identity = getattr(processes and processes.current_process(), "_identity", ())
    return int(identity[-1]) if identity else 0


def worker_count() -> int | None:
    """How many workers the server was asked for; None where that is not known."""
    asked = os.environ.get("UNSTALL_WORKERS") or os.environ.get("WEB_CONCURRENCY", "")
    return int(asked) if asked.isdigit() else None
