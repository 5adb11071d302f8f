"""unstall: find, prove, fix and watch the blocking calls that get pods restarted."""

from __future__ import annotations

from unstall.runtime import watch

__version__ = "0.1.0"
__all__ = ["__version__", "watch"]
