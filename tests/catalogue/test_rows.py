"""Every row of the catalogue, one by one."""

from __future__ import annotations

import re
from collections import Counter

from unstall import catalogue
from unstall.catalogue import Row
from unstall.catalogue.rules import rules

ROWS = tuple(catalogue.load().rows())
SPELLING = re.compile(r"[A-Za-z_*][\w*]*(\(\)|\[\]|\.[A-Za-z_*][\w*]*)*")
TRANSFORMS = {"await", "thread", "async-library", "process", "hoist", "redesign"}


def test_the_catalogue_has_thousands_of_rows_in_every_family() -> None:
    families = Counter(row.family for row in ROWS)
    assert len(ROWS) > 10_000
    assert {"sleep", "http", "database", "file", "subprocess", "lock", "dns", "cpu", "sync-over-async"} <= set(families)
    assert min(families.values()) > 10


def test_every_row_has_a_rule_with_a_page() -> None:
    codes = {rule.code for rule in rules()}
    assert [row.name for row in ROWS if row.rule not in codes] == []


def test_every_row_that_may_be_reported_says_why_and_what_instead() -> None:
    silent = [row.name for row in ROWS if row.duration != "0" and not (row.why and row.remedy)]
    assert silent == []


def test_every_duration_and_transform_is_one_of_the_known() -> None:
    assert {row.duration for row in ROWS} == {"U", "L", "S", "0"}
    assert {row.transform for row in ROWS if row.duration != "0"} <= TRANSFORMS


def test_every_pattern_is_spelled_as_the_grammar_says() -> None:
    assert [row.name for row in ROWS if not SPELLING.fullmatch(row.name)] == []


def test_no_two_rows_have_the_same_path() -> None:
    counts = Counter(row.name for row in ROWS)
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_row_is_hidden_behind_a_rewrite() -> None:
    rows = catalogue.load()
    assert [(row.name, rows.canonical(row.name)) for row in ROWS if rows.canonical(row.name) != row.name] == []


def test_every_row_without_a_wildcard_is_what_its_path_finds() -> None:
    rows = catalogue.load()
    assert [row.name for row in ROWS if not _finds_itself(rows, row)] == []


def test_a_tail_wildcard_stands_last() -> None:
    assert [row.name for row in ROWS if "**" in row.name and not row.name.endswith(".**")] == []


def test_a_rewrite_comes_to_rest() -> None:
    rows = catalogue.load()
    restless = []
    for row in ROWS:
        result = rows.canonical(row.name + "()")
        if rows.canonical(result) != result:
            restless.append((row.name, result))
    assert restless == []


def _finds_itself(rows: catalogue.Catalogue, row: Row) -> bool:
    if "*" in row.name:
        return True
    path, when = row.name, row.when
    for dunder, use in ((".__iter__", "iterate"), (".__enter__", "with")):
        if row.when == use and path.endswith(dunder):
            path = path.removesuffix(dunder)
    hit = rows.find(path, when)
    return hit is not None and (hit.rule, hit.duration, hit.why) == (row.rule, row.duration, row.why)
