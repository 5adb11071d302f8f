"""`import unstall` goes into production images: it is small, quick and standard library only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SHOW = """
import json, sys
before = set(sys.modules)
import unstall, unstall.runtime, unstall.runtime.{module}
print(json.dumps([sorted(set(sys.modules) - before), {{
    n: getattr(m, "__file__", None) for n, m in sys.modules.items()}}]))
"""


def loaded_by(module: str, *flags: str) -> tuple[set[str], dict[str, str | None]]:
    source = Path(__file__).parents[2] / "src"
    code = f"import sys; sys.path.insert(0, {str(source)!r})\n" + SHOW.format(module=module)
    out = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True).stdout
    new, files = json.loads(out)
    return set(new), files


def test_the_package_loads_nothing_outside_the_standard_library() -> None:
    new, _ = loaded_by("watcher", "-S", "-E")
    outside = {name for name in new if name.partition(".")[0] not in {*sys.stdlib_module_names, "unstall"}}
    assert outside == set()


def test_importing_the_package_loads_neither_asyncio_nor_logging() -> None:
    new, _ = loaded_by("settings", "-S", "-E")
    assert not new & {"asyncio", "logging", "json", "socket", "dataclasses", "subprocess", "threading", "pathlib"}
