"""The floors of the house: a package imports from its own room and from lower floors only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "unstall"
FLOORS = {
    "model": 0, "errors": 0, "units": 0, "records": 0,
    "catalogue": 1, "kubelet": 1,
    "source": 2, "runtime": 2,
    "lab": 3, "probe": 3, "report": 3,
    "cli": 4, "pytest_plugin": 4,
    "__main__": 5,
}  # fmt: skip
MODULES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {
                f"{node.module}.{alias.name}" if node.module == "unstall" else node.module for alias in node.names
            }
    return {name.split(".")[1] for name in names if name.startswith("unstall.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_only_its_own_room_and_lower_floors(path: Path) -> None:
    room = room_of(path)
    for other in imported_rooms(ast.parse(path.read_text())):
        if other == "__version__":
            continue
        assert other == room or FLOORS[other] < FLOORS[room] or FLOORS[other] == FLOORS[room] == 0, (
            f"{path} imports unstall.{other}"
        )


def test_the_kubelet_machine_has_no_clock_no_socket_and_no_chance_of_its_own() -> None:
    forbidden = {"time", "asyncio", "socket", "random", "logging"}
    for node in ast.walk(ast.parse((SRC / "kubelet" / "machine.py").read_text())):
        if isinstance(node, ast.Import):
            assert not forbidden & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in forbidden


def test_importing_unstall_loads_nothing_outside_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import unstall, unstall.runtime\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'unstall'}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_no_source_file_is_longer_than_a_person_reads() -> None:
    long = {str(p.relative_to(SRC)): n for p in MODULES if (n := p.read_text().count("\n")) > 400}
    assert long == {}
