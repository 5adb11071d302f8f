"""Writes what a benchmark measured between the marks of a page."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Put the text between ``<!-- name -->`` and ``<!-- /name -->``. Raises SystemExit where the page has no such marks."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.read_text().partition(first)
    if last not in rest:
        raise SystemExit(f"{page} has no {first.strip()} ... {last}")
    page.write_text(before + first + text + "\n" + last + rest.partition(last)[2])
