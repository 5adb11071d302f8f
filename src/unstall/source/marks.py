"""Which findings `fix` has a rewrite for, as `check` says it: planned, not yet proved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unstall.model import Finding
from unstall.source.check import Options
from unstall.source.fix import planned
from unstall.source.project import find_sources
from unstall.source.store import CACHE_DIR, load_pack, save_pack, version
from unstall.source.texts import Texts

FIXES = "fixes"


def fixes(root: Path, findings: Sequence[Finding], options: Options) -> dict[str, str]:
    """What `fix` would do about each of these findings by a safe rewrite, by their keys.

    The proof is left to `fix`: it is another check of the whole project. What was said last is kept beside the facts,
    and said again where no file, tests included, has changed since.
    """
    if not findings:
        return {}
    if root.is_file():
        root, paths = root.parent, [root.name]
    else:
        paths = find_sources(root, options.exclude, options.tests)[0]
    state = _state(root, findings, options) if options.cache else ""
    kept = load_pack(root / CACHE_DIR / FIXES) if options.cache else None
    if kept is not None and kept[0] == state:
        return dict(kept[1])
    plans, refused = planned(Texts(root, paths), findings, False, lambda path: True)
    found = {
        finding.key: plan.why
        for plan in plans
        for spot in plan.spots
        for finding in spot.findings
        if finding.key not in refused
    }
    if options.cache:
        save_pack(root / CACHE_DIR, FIXES, (state, found))
    return found


def _state(root: Path, findings: Sequence[Finding], options: Options) -> str:
    """All that the answer depends on. Tests count: what they call cannot become a plain function."""
    rows = [version(), repr(options), *(finding.key for finding in findings)]
    for path in find_sources(root, tests=True)[0]:
        try:
            stat = (root / path).stat()
        except OSError:
            continue
        rows.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return "\n".join(rows)
