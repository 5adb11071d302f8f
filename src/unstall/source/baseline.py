"""Accepted findings: a file of keys without line numbers that only ever shrinks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unstall.errors import BadFile
from unstall.model import Finding

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Baseline:
    """The keys of accepted findings."""

    keys: frozenset[str]

    def split(self, findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...], frozenset[str]]:
        """New findings, accepted ones, and keys whose finding is gone."""
        every = tuple(findings)
        new = tuple(f for f in every if f.key not in self.keys)
        accepted = tuple(f for f in every if f.key in self.keys)
        return new, accepted, self.keys - {f.key for f in accepted}


def read_baseline(path: Path) -> Baseline | None:
    """Read a baseline; None where there is no file.

    Raises:
        BadFile: the file is damaged, or of a newer schema.
    """
    try:
        plain = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BadFile(f"{path} is not JSON: {error}", "delete it and run `unstall check --write-baseline`") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
        raise BadFile(f"{path} is not a baseline of unstall: it has no schema number")
    if plain["schema"] > SCHEMA:
        raise BadFile(
            f"{path} has schema {plain['schema']}; this unstall reads up to {SCHEMA}", "install a newer unstall"
        )
    keys = plain.get("findings")
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise BadFile(f"findings in {path} should be a list of strings")
    return Baseline(frozenset(keys))


def shrunk(known: Baseline | None, findings: Iterable[Finding]) -> Baseline:
    """The baseline to write: today's findings where there was none, else only those that were accepted before."""
    keys = frozenset(f.key for f in findings)
    return Baseline(keys if known is None else keys & known.keys)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the keys, sorted, one a line.

    Raises:
        BadFile: the file cannot be written.
    """
    try:
        path.write_text(json.dumps({"schema": SCHEMA, "findings": sorted(baseline.keys)}, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise BadFile(f"cannot write {path}: {error.strerror}") from None
