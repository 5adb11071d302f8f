"""Any source gives facts or a reason: nothing crashes, nothing hangs."""

from __future__ import annotations

import ast
import marshal
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unstall.source import facts as f
from unstall.source.check import Options, check
from unstall.source.decoding import decode
from unstall.source.syntax import read_facts, read_plain

CASES = sorted((Path(__file__).parents[1] / "cases" / "check").rglob("*.py"))
WORDS = [
    "async",
    "def",
    "await",
    "class",
    "self",
    "lambda",
    "yield",
    "from",
    "import",
    "with",
    "as",
    "for",
    "in",
    "return",
    "if",
    "else",
    "try",
    "except",
    "finally",
    "global",
    "x",
    "f",
    "C",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    ".",
    "=",
    "==",
    "*",
    "**",
    "@",
    "->",
    "'a'",
    "1",
    "\n",
    "\n\n",
    "\t",
    "pass",
    "...",
    "match",
    "case",
    ":=",
    "del",
    "assert",
    "raise",
    "not",
    "and",
    "or",
]


@given(st.lists(st.sampled_from(WORDS), max_size=60))
@settings(max_examples=150, deadline=None)
def test_word_salad_gives_facts_or_a_reason(words: list[str]) -> None:
    text = " ".join(words)
    found = read_facts(text)
    try:
        ast.parse(text)
    except SyntaxError:
        assert found.error
    else:
        assert not found.error


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_can_be_read(data: bytes) -> None:
    found = read_facts(decode(data))
    assert found.error or found.functions[0].name == "<module>"


@pytest.mark.parametrize("seed", range(12))
def test_real_code_with_lines_shuffled_or_lost_can_be_checked(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    for number in range(6):
        lines = rng.choice(CASES).read_text().splitlines()
        for _ in range(rng.randrange(1, 8)):
            if len(lines) > 2:
                at = rng.randrange(len(lines) - 1)
                lines[at], lines[at + 1] = lines[at + 1], lines[at]
        (tmp_path / f"m{number}.py").write_text("\n".join(lines))
    assert check(tmp_path, Options(cache=False)).stats.files == 6


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 20000 + "1",
        "x = " + ".a".join(["b"] * 1) + ".a" * 3000,
        "f" + "(f" * 90 + ")" * 90,
        "x = " + " + ".join(["1"] * 3000),
        "\n".join(" " * i + "if x:" for i in range(99)) + "\n" + " " * 99 + "pass",
        "x = '" + "a" * 2_000_000 + "'",
        "\x00",
        "\ufeffimport time",
        "# -*- coding: nonsense -*-\n",
    ],
)
def test_deep_and_huge_sources_end(text: str, tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text(text, encoding="utf-8")
    assert check(tmp_path, Options(cache=False)).stats.files == 1


RECURSIVE = [
    "class A(A): pass\nasync def f(a: A): a.x()",
    "class A(B): pass\nclass B(A):\n    def m(self): return self.m()\nasync def f(a: A): a.m().m()",
    "def f(): return f()\nasync def g(): f()()().x()",
    "def f(g): return f(lambda: g())\nasync def h(): f(lambda: 1)",
    "def f(x): return f([x])\nasync def h(): f(1)(2)",
    "x = y\ny = x\nasync def f(): x.z()",
    "from m0 import *\nfrom m0 import x\nasync def f(): x()",
    "class A:\n    def __init__(self, a): self.a = A(self)\n    async def f(self): self.a.a.a.a.g()",
    "T = T | None\nasync def f(x: T): x.a()",
    "import functools\np = functools.partial(p, p)\nasync def f(): p()()",
    "class A:\n    @property\n    def p(self): return self.p\n    async def f(self): self.p.p",
    "def d(f): return d(f)\n@d\ndef g(): g()\nasync def h(): g()",
    "async def f(): return await f()\nasync def g(): (await f()).x()",
    "def g(): yield from g()\nasync def f(): list(g())",
]


@pytest.mark.parametrize("text", RECURSIVE)
def test_sources_that_refer_to_themselves_end(text: str, tmp_path: Path) -> None:
    (tmp_path / "m0.py").write_text(text)
    assert check(tmp_path, Options(cache=False)).findings == ()


def test_displays_of_displays_do_not_grow_without_end(tmp_path: Path) -> None:
    lines = [f"def f{n}(): pass" for n in range(9)]
    lines += ["async def grow(x):", f"    x0 = [{', '.join(f'f{n}' for n in range(9))}]"]
    lines += [f"    x{n + 1} = [x{n}, {{'a': x{n}, 'b': [x{n}]}}, (x{n}, f{n % 9}, x{n})]" for n in range(60)]
    (tmp_path / "m0.py").write_text("\n".join([*lines, "    grow(x60)"]))
    assert check(tmp_path, Options(cache=False)).findings == ()


def test_values_are_followed_through_hundreds_of_calls_within_calls(tmp_path: Path) -> None:
    lines = [f"def f{n}(x): return f{n + 1}(x)" for n in range(400)]
    (tmp_path / "m0.py").write_text("\n".join([*lines, "def f400(x): return x", "async def g(): f0(open)().read()"]))
    assert check(tmp_path, Options(cache=False)).stats.coroutines == 1


def test_a_decorator_on_many_functions_keeps_each_of_them(tmp_path: Path) -> None:
    lines = ["import time", "def log(f):", "    def wrapper(*a): return f(*a)", "    return wrapper"]
    for n in range(80):
        lines += ["@log", f"def f{n}(): time.sleep({n + 1})", f"async def g{n}(): f{n}()"]
    (tmp_path / "m0.py").write_text("\n".join(lines))
    found = check(tmp_path, Options(cache=False)).findings
    assert [chain.entrance.label for finding in found for chain in finding.chains] == [
        f"async def g{n}" for n in range(80)
    ]


def test_a_file_that_does_not_parse_is_counted_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    ((path, reason),) = check(tmp_path, Options(cache=False)).stats.unparsed
    assert path == "bad.py"
    assert reason.startswith("line 1:")


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_facts_survive_being_kept(path: Path) -> None:
    text = path.read_text()
    assert f.from_plain(marshal.loads(marshal.dumps(read_plain(text)))) == read_facts(text)
