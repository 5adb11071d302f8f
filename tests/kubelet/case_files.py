"""Reads the recorded cases: from this folder's `cases`, or from the one that UNSTALL_KUBELET_CASES names."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest


def folder() -> Path:
    """Where the case files are looked for."""
    return Path(os.environ.get("UNSTALL_KUBELET_CASES") or Path(__file__).parent / "cases")


def params(file: str, key: str = "cases") -> list[Any]:
    """The cases of one file, one pytest parameter each; one skipped parameter where the file is missing."""
    path = folder() / file
    if not path.is_file():
        return [pytest.param({}, id="missing", marks=pytest.mark.skip(reason=f"{folder()} has no {file}"))]
    cases = json.loads(path.read_text(encoding="utf-8"))[key]
    assert cases, f"{path} has no {key}"
    return [pytest.param(case, id=case.get("name", str(i))) for i, case in enumerate(cases)]


def refuse_unknown(mapping: Mapping[str, Any], known: Collection[str], where: str = "the case") -> None:
    """Fail where a case has a key that its test does not look at: it could mean something."""
    unknown = sorted(set(mapping) - set(known))
    if unknown:
        pytest.fail(f"{where} has unknown keys: {', '.join(unknown)}")
