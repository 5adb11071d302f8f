"""The calls that a project has accepted for now: read, dropped when they are gone, never added to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unstall.model import Finding
from unstall.source.baseline import Baseline, read_baseline, write_baseline
from unstall.units import plural

DEFAULT_NAME = "unstall-pytest.json"
_MOST_SHOWN = 10


class Accepted:
    """The baseline of one session. ``seen`` are the keys of all blocking calls so far, accepted or not."""

    def __init__(self, config: pytest.Config) -> None:
        name = config.getoption("unstall_baseline") or config.getini("unstall_baseline")
        self.writing = bool(config.getoption("unstall_write_baseline"))
        self.path: Path | None = config.rootpath / (name or DEFAULT_NAME) if name or self.writing else None
        self.known: Baseline | None = read_baseline(self.path) if self.path is not None else None
        self.seen: set[str] = set()
        self.incomplete = _narrowed(config)

    def take(self, finding: Finding) -> bool:
        """True where this call is accepted, or is being accepted now."""
        self.seen.add(finding.key)
        if self.known is None:
            return self.writing
        return finding.key in self.known.keys

    def close(self, exitstatus: int) -> Iterator[str]:
        """Write what is to be written; what there is to say."""
        if self.path is None:
            return
        whole = not self.incomplete and exitstatus in (0, 1)
        gone = frozenset() if self.known is None else self.known.keys - self.seen
        if self.writing and (self.known is None or whole):
            kept = frozenset(self.seen) if self.known is None else self.known.keys & self.seen
            write_baseline(self.path, Baseline(kept))
            yield f"{self.path.name}: {plural(len(kept), 'call')} accepted" + (
                f", {plural(len(gone), 'entry', 'entries')} dropped" if gone else ""
            )
        elif self.writing:
            yield f"{self.path.name} is as it was: only a part of the tests ran"
        elif gone and whole:
            yield f"{self.path.name} accepts {plural(len(gone), 'call')} that no test makes any more:"
            yield from (f"  {key}" for key in sorted(gone)[:_MOST_SHOWN])
            yield "drop them with `pytest --unstall-write-baseline`"


def _narrowed(config: pytest.Config) -> bool:
    """True where only a part of the tests was asked for."""
    option = config.option
    asked = ("keyword", "markexpr", "lf", "deselect", "stepwise", "ignore", "ignore_glob", "collectonly")
    return any(getattr(option, name, None) for name in asked) or any(
        "::" in argument or argument.endswith(".py") for argument in config.args
    )
