"""A check that keeps to what the work since a git revision brings in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from unstall.source.check import CheckReport, Options, check
from unstall.source.compare import Side, brought_in
from unstall.source.decoding import decode
from unstall.source.project import find_sources, read_source
from unstall.source.revision import laid_out, revision
from unstall.units import plural


class Since:
    """Two checks, of the files as they are and as they were at ``asked``, and what is only in the first.

    Raises:
        BadInput: no git, no repository, or no such revision.
    """

    def __init__(self, path: Path, options: Options, asked: str) -> None:
        self.path = path
        self.root = path if path.is_dir() else path.parent
        self.options = replace(options, every_route=True)
        self.base = revision(self.root, asked)
        self.said = ""

    def report(self) -> CheckReport:
        """The present report with nothing but the findings and chains that are new."""
        now = check(self.path, self.options)
        present, _ = find_sources(self.root, self.options.exclude, self.options.tests)
        with laid_out(self.root, self.base.commit, present) as folder:
            path = folder if self.path.is_dir() else folder / self.path.name
            before = check(path, self.options) if path.exists() else CheckReport((), now.stats)
            sides = Side(now.findings, _reader(self.root)), Side(before.findings, _reader(folder))
            new = brought_in(*sides)
        old = len(now.findings) - len(new)
        self.said = f"Compared with {self.base}: {plural(old, 'blocking call')} found there already."
        return replace(now, findings=new)


def _reader(root: Path) -> Callable[[str], str | None]:
    def read(path: str) -> str | None:
        data = read_source(root / path)
        return None if data is None else decode(data)

    return read
