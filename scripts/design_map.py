"""Writes the rooms of docs/design.md from the modules' own first sentences; --check only compares."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "unstall"
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- rooms: written by scripts/design_map.py -->\n", "<!-- end of rooms -->\n"
FLOORS = (
    ("4 · people and pytest", ("cli", "pytest_plugin")),
    ("3 · experiments, advice, pages", ("lab", "probe", "report")),
    ("2 · reads your source, lives in your process", ("source", "runtime")),
    ("1 · knowledge and the state machine", ("catalogue", "kubelet")),
    ("0 · nouns", (".",)),
)


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]


def rooms() -> str:
    """One table a room, floor by floor."""
    lines: list[str] = []
    for floor, names in FLOORS:
        lines += [f"### Floor {floor}", ""]
        for name in names:
            lines += [f"`{name}/`" if name != "." else "`unstall/`", "", "| module | its job |", "|---|---|"]
            lines += [
                f"| `{path.stem}` | {first_sentence(path)} |"
                for path in sorted((SRC / name).glob("*.py"))
                if path.name not in ("__init__.py", "__main__.py")
            ]
            lines.append("")
    return "\n".join(lines)


def main() -> int:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    fresh = before + BEGIN + "\n" + rooms() + "\n" + END + after
    if "--check" in sys.argv:
        return int(fresh != page)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
