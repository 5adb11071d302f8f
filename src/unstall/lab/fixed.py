"""The second arm that ``--fix`` makes: a copy of the project with every safe fix written into it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from unstall.errors import BadInput
from unstall.lab.target import Target
from unstall.source import edits
from unstall.source.check import Options
from unstall.source.fix import FixReport, fix, write
from unstall.source.project import SKIPPED_DIRS


@contextlib.contextmanager
def fixed_copy(target: Target) -> Iterator[tuple[Target, str]]:
    """The app in a temporary folder, fixed, and what was changed as a diff; the project itself stays as it is.

    Environments, caches and build folders are not copied. The folder is gone when the block is left.

    Raises:
        BadInput: nothing blocks, or nothing that blocks has a safe fix.
    """
    with tempfile.TemporaryDirectory(prefix="unstall-fixed-") as folder:
        copy = Path(folder) / target.folder.name
        # A temporary folder inside the project must not be copied into itself.
        skipped = shutil.ignore_patterns(*SKIPPED_DIRS, Path(folder).name)
        shutil.copytree(target.folder, copy, symlinks=True, ignore=skipped)
        report = fix(copy, Options(cache=False))
        if not report.fixed:
            raise BadInput(_why_not(target, report), "see what is left: unstall fix --diff")
        write(report)
        yield replace(target, folder=copy), diff_of(report)


def _why_not(target: Target, report: FixReport) -> str:
    if not report.found:
        return f"--fix: no blocking call reaches the event loop in {target.folder}"
    left = report.left[0]
    return f"--fix: nothing has a safe fix; {left.finding.site.path}:{left.finding.site.line}: {left.reason}"


def diff_of(report: FixReport) -> str:
    """Every hunk, headed by why it is made."""
    parts = []
    for file in report.files:
        why = "; ".join(dict.fromkeys(plan.why for plan in report.plans if plan.path == file.path)) or "imports"
        parts.append(edits.diff(file.path, file.text, report.texts[file.path], partial(_always, why)))
    return "\n".join(parts)


def _always(why: str, first: int, last: int) -> str:
    return why
