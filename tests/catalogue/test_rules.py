"""The rule pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unstall.catalogue.rules import PARTS, Rule, rule, rules
from unstall.errors import BadInput
from unstall.probe import advise

ROOT = Path(__file__).resolve().parents[2]


CODE = [one for one in rules() if one.code < "UNS300"]
MANIFEST = [one for one in rules() if one.code >= "UNS300"]


def test_the_rules_are_numbered_without_a_gap() -> None:
    assert [r.code for r in CODE] == [f"UNS{number}" for number in range(100, 111)]


@pytest.mark.parametrize("one", rules(), ids=lambda one: one.code)
def test_a_page_has_its_four_parts_in_order(one: Rule) -> None:
    headings = re.findall(r"^## (.*)$", one.page, flags=re.MULTILINE)
    assert tuple(headings) == PARTS
    assert all((one.summary, one.what, one.why, one.example, one.instead))


@pytest.mark.parametrize("one", CODE, ids=lambda one: one.code)
def test_the_python_of_a_page_parses(one: Rule) -> None:
    blocks = re.findall(r"```python\n(.*?)```", one.page, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)


@pytest.mark.parametrize("one", MANIFEST, ids=lambda one: one.code)
def test_the_yaml_of_a_page_reads_as_a_mapping(one: Rule) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", one.page, flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert isinstance(yaml.safe_load(block), dict)


def test_every_rule_for_probes_has_a_page() -> None:
    assert {one.code for one in MANIFEST} == set(advise.RULES)


def test_a_rule_is_found_by_code_or_name_in_any_case() -> None:
    assert rule("uns102") is rule("blocking-http")


def test_an_unknown_rule_says_which_there_are() -> None:
    with pytest.raises(BadInput) as caught:
        rule("UNS999")
    assert "UNS999" in str(caught.value)
    assert "UNS101" in str(caught.value)


def test_the_documentation_is_what_the_pages_say() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts" / "rules_page.py", "--print"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "rules.md").read_text("utf-8") == printed.stdout, "run scripts/rules_page.py"
