"""Newer syntax read by an older parser."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from unstall.source.check import Options, check
from unstall.source.newer import older

SPELLED = [
    ("type X = int | str\n", "X = int | str\n"),
    ("type Y[T] = list[T]\n", "Y    = list[T]\n"),
    ("type = 1\n", "type = 1\n"),
    ("type(x)[0] = 1\n", "type(x)[0] = 1\n"),
    ("class A[T: (int, str)](B[T]): pass\n", "class A" + 15 * " " + "(B[T]): pass\n"),
    ("async def f[**P](x: C[P]): pass\n", "async def f     (x: C[P]): pass\n"),
    ("try: pass\nexcept A, b.C: pass\n", "try: pass\nexcept (A, b.C): pass\n"),
    ("try: pass\nexcept (A, B): pass\n", "try: pass\nexcept (A, B): pass\n"),
    ('x = f"{y["a"]} {z["it\'s"]}"\n', "x = f\"{y['a']} {z['it_s']}\"\n"),
    ('x = f"{f"{a}" + b["c"]}"\n', "x = f\"{f'{a}' + b['c']}\"\n"),
    ('x = f"{f"{a["c"]}"}"\n', "x = f\"{f'{a[0  ]}'}\"\n"),
    ("x = f\"{'\\n'.join(y)}\"\n", "x = f\"{'_n'.join(y)}\"\n"),
    ('x = f"{\n  y  # why\n}"\n', 'x = f"""{\n  y       \n}"""\n'),
    ('x = t"{y} {{z}} {w!r:>{width}}"\n', 'x = f"{y} {{z}} {w!r:>{width}}"\n'),
    ('x = "class A[T]: type X = 1"  # def f[T]\n', 'x = "class A[T]: type X = 1"  # def f[T]\n'),
    ("x = rf'\\d{3}' 'don\\'t' '\\''\n", "x = rf'\\d{3}' 'don\\'t' '\\''\n"),
]
BROKEN = ["x = f'", 'x = f"{', "class A[", 'x = f"{y[\'a"}', "type", "'''", "f'{x:{y'", "except A,", "def f[\n\n"]


@pytest.mark.parametrize(("new", "old"), SPELLED, ids=[repr(new) for new, _ in SPELLED])
def test_it_is_spelled_as_an_older_parser_reads_it(new: str, old: str) -> None:
    assert older(new) == old
    ast.parse(old)


def test_parameters_over_several_lines_leave_every_line_where_it_was() -> None:
    text = older("class A[\n    T,\n    U: int,\n](B):\n    x = 1\n")
    assert text.count("\n") == 5
    (found,) = ast.parse(text).body
    assert isinstance(found, ast.ClassDef)
    assert (found.name, found.body[0].lineno) == ("A", 5)


@pytest.mark.parametrize("text", BROKEN)
def test_source_that_is_broken_in_any_syntax_is_gone_through(text: str) -> None:
    assert older(text).count("\n") == text.count("\n")


def test_a_blocking_call_in_newer_syntax_is_found_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import time\n\n\ntype Pause = float\n\n\nclass Box[T]:\n    def wait(self, names: dict) -> T:\n"
        '        print(f"waits for {names["who"]}"); time.sleep(1)\n\n\n'
        "async def go(box: Box[int]):\n    box.wait({})\n"
    )
    report = check(tmp_path, Options(cache=False))
    assert report.stats.unparsed == ()
    (finding,) = report.findings
    assert (finding.site.line, finding.site.column, finding.site.qualname) == (9, 45, "Box.wait")
    assert finding.chains[0].steps[0].site.line == 13
