"""Heeds ``# unstall: ignore[UNS102] reason`` where ``unstall check`` heeds it."""

from __future__ import annotations

from pathlib import Path

from unstall.model import Finding
from unstall.source.suppress import Ignore, ignores_in, suppressed


class Comments:
    """The comments of the files that chains go through, each file read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[Ignore, ...]] = {}

    def silence(self, finding: Finding) -> bool:
        """True where a comment on a line of the chain silences it."""
        paths = {step.site.path for chain in finding.chains for step in chain.steps}
        ignores = {path: found for path in paths if (found := self._of(path))}
        return bool(ignores) and not suppressed([finding], ignores)[0]

    def _of(self, path: str) -> tuple[Ignore, ...]:
        if path not in self._known:
            try:
                self._known[path] = ignores_in((self._root / path).read_text("utf-8"))
            except (OSError, ValueError):
                self._known[path] = ()
        return self._known[path]
