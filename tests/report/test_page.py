"""The page as text: complete, escaped, small."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import samples

from unstall.errors import MissingExtra
from unstall.model import Experiment, Trial
from unstall.report import words
from unstall.report.page import render
from unstall.report.sections import section


def size_kb(page: str) -> float:
    """As it lies on disk."""
    return len(page.encode()) / 1000


def test_two_thousand_requests_fit_in_150_kb_and_the_default_run_in_300() -> None:
    assert size_kb(render(samples.own_app(1_000))) <= 150
    assert size_kb(render(samples.own_app(1_000, trials=5))) <= 150
    assert size_kb(render(samples.default_run())) <= 300
    assert size_kb(render(samples.real_run())) <= 300


def test_nothing_is_loaded_from_anywhere() -> None:
    page = render(samples.default_run())
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)""", page) == []
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_title_counts_blocks_in_a_row() -> None:
    assert words.page_title(samples.report(samples.experiment_3())) == (
        "GET /hello blocks the event loop 3 times in a row, 15.0 s in all; "
        "the liveness probe fails and the pod is restarted"
    )
    assert words.page_title(samples.report(samples.experiment_1b())) == (
        "GET /hello blocks the event loop 5 times in a row, 15.0 s in all; everybody else waits"
    )
    assert words.page_title(samples.report()) == "No trial was finished"


def test_an_experiment_shows_numbers_verdict_story_line_chain_diff_settings_and_versions() -> None:
    page = render(samples.report(samples.experiment_3()))
    for part in (
        "missed probes",
        "HOLDS",
        "no answer in time",
        "will be restarted",
        "blocking.py:16 in hello",
        "└─",
        "await asyncio.sleep(HELLO_SECONDS)",
        "GET /health on port 8000, every 5 s, timeout 1 s, 3 failures",
        "uvloop 0.22.1",
        "unstall check had predicted this line",
        "5.00 s waiting in a system call",
    ):
        assert part in page or part in page.replace("<code>", ""), part


def test_a_real_run_shows_each_experiment_with_its_verdict_and_the_restart_on_top() -> None:
    report = samples.real_run()
    page = render(report)
    assert [one.name for one in report.experiments] == ["1", "1b", "2", "3"]
    for experiment in report.experiments:
        assert page.count(experiment.verdict.sentence.replace("'", "&#39;")) >= 2
    assert page.index('id="timeline-0"') < page.index('class="summary"') < page.index('id="timeline-1"')
    assert "time.sleep(HELLO_SECONDS)" in page


def test_only_the_guilty_line_is_marked() -> None:
    page = render(samples.report(samples.experiment_3()))
    marked = re.findall(r'<span class="line hit">(.*?)</span>', page, re.DOTALL)
    assert [re.sub("<.*?>", "", line).split() for line in marked] == [["›", "16", "time.sleep(HELLO_SECONDS)"]]


def test_the_median_trial_by_restarts_is_shown_and_the_others_are_folded() -> None:
    made = samples.experiment_3(5)
    shown = words.representative([t for t in made.trials if t.arm == "A"])
    restarts = sorted(t.timeline.restarts for t in made.trials if t.arm == "A")
    assert shown.timeline.restarts == restarts[2]
    prepared, _ = section(made, 1, 60_000)
    assert [name for name, _ in prepared.folded] == ["Trial 1", "Trial 2", "Trial 4", "Trial 5"]
    assert sum(svg.count('class="arm"') for _, svg in prepared.folded) == 8


def test_trials_that_would_make_the_page_heavy_are_counted_and_not_drawn() -> None:
    prepared, room = section(samples.own_app(2_000, 5).experiments[0], 1, 60_000)
    drawn = sum(svg.count('class="arm"') for _, svg in prepared.folded)
    assert drawn + prepared.not_drawn == 8
    assert prepared.not_drawn > 0
    assert room >= 0


def test_an_arm_without_a_trial_is_still_a_column() -> None:
    page = render(samples.report(replace(samples.experiment_1b(), table=samples.experiment_1().table[:1])))
    assert '<th scope="col">client</th>' in page


def test_a_hostile_result_is_escaped_everywhere() -> None:
    page = render(samples.hostile())
    assert page.count("<script>") == 1
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\x00" not in page
    assert "Interrupted." in page
    assert "not a number" in page
    assert " nan" not in re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL).lower()


def test_a_long_path_is_shortened_and_kept_whole_in_the_title() -> None:
    page = render(samples.hostile())
    assert "a" * 4999 + "/" + "b" * 4999 in page
    outside = re.sub(r'title="[^"]*"|data-i="[^"]*"|<(td|dd|title|desc)[ >].*?</\1>', "", page, flags=re.DOTALL)
    assert "a" * 200 not in outside


def test_a_result_without_experiments_says_so() -> None:
    assert "There is no experiment in this result." in render(samples.report())


def test_an_experiment_without_trials_says_so() -> None:
    page = render(samples.report(replace(samples.experiment_3(), trials=())))
    assert "No trial of this experiment was finished" in page


@pytest.mark.parametrize(("trials", "chosen"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_of_equal_trials_the_middle_one_is_shown(trials: int, chosen: int) -> None:
    made: Experiment = samples.experiment(
        "x", "t", [("A", "", [samples.awaited(1.0)] * trials)], samples.experiment_2().verdict
    )
    shown: Trial = words.representative(made.trials)
    assert shown.index == chosen


def test_without_jinja2_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"unstall\[lab\]"):
        render(samples.report())
