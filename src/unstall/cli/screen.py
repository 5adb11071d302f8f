"""The terminal, the same in colour, without and in CI."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def console(stderr: bool = False) -> Console:
    """A console whose text is exact: no emoji, no highlighting, no wrapping; plain under NO_COLOR and in CI."""
    plain = "NO_COLOR" in os.environ or bool(os.environ.get("CI"))
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        no_color=plain,
        force_terminal=False if plain else None,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=True,
    )
