"""Checks texts in memory again: what blocks before a fix, and what blocks after."""

from __future__ import annotations

import dataclasses
import gc
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from unstall.model import Finding
from unstall.source.check import CheckReport, Options, analysed
from unstall.source.plans import below
from unstall.source.project import find_sources
from unstall.source.store import Entry, Stored, collect

Way = tuple[str, str, str, str, str]
"""A way to a stall, without line numbers: path, function, primitive; path and name of the coroutine that waits."""


_DECLARED = re.compile(r"(?<=coding)[:=](?=[ \t]*[-\w.]+)")


class Checked:
    """A project whose facts are read once, checked again with some texts replaced."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.paths, self.left_out = find_sources(root, options.exclude, options.tests)
        self._stored: Stored = collect(root, self.paths, options.cache, options.jobs)
        self._known: dict[tuple[str, str], Entry] = {}

    def report(self, texts: dict[str, str]) -> CheckReport:
        """What ``check`` says when these files have these texts."""
        new = {path: text for path, text in texts.items() if (path, text) not in self._known}
        self._known |= {(path, new[path]): entry for path, entry in _facts(new).items()}
        entries = self._stored.entries | {path: self._known[path, text] for path, text in texts.items()}
        stored = dataclasses.replace(self._stored, entries=entries, changed=frozenset(texts))
        collecting = gc.isenabled()
        gc.disable()
        try:
            return analysed(self.paths, stored, self.options, self.left_out, self.root.resolve().parts[-4:])
        finally:
            if collecting:
                gc.enable()


def _facts(texts: dict[str, str]) -> dict[str, Entry]:
    """The facts of these texts, read as those of files are: from a folder of their own, gone afterwards."""
    if not texts:
        return {}
    with tempfile.TemporaryDirectory(prefix="unstall-") as folder:
        for path, text in texts.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # As UTF-8 whatever the file says of itself: a declaration of another encoding is only in the way here.
            place.write_bytes(b"\xef\xbb\xbf" + _DECLARED.sub("", text, count=1).encode())
        return collect(Path(folder), list(texts), False, 1).entries


def ways(findings: tuple[Finding, ...]) -> Counter[Way]:
    """Every way of these findings, counted."""
    found: Counter[Way] = Counter()
    for finding in findings:
        for chain in finding.chains:
            site = below(chain)[0].site
            found[finding.site.path, finding.site.qualname, finding.primitive.name, site.path, site.qualname] += 1
    return found


def compiles(path: str, text: str) -> str:
    """Why a text does not compile; empty where it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""
