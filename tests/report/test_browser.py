"""The page in a real browser: silent, alone, quick, accessible, and alive under pointer and keys."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from unstall.model import LabReport, Verdict

VERDICT = Verdict(True, "It was so.")


def one_arm(timeline: Any) -> LabReport:
    """A report of a single timeline."""
    return samples.report(samples.experiment("x", "One", [("A", "about", [timeline])], VERDICT))


REPORTS: dict[str, Callable[[], LabReport]] = {
    "experiments 1 to 3": samples.real_run,
    "five trials": lambda: samples.report(samples.experiment_3(5)),
    "20,000 requests": lambda: samples.own_app(10_000),
    "500 restarts in 24 h": lambda: one_arm(samples.day_of_restarts()),
    "a pod that never starts": lambda: one_arm(samples.never_started()),
    "hostile": samples.hostile,
    "no experiment": samples.report,
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_silent_and_asks_the_network_for_nothing(name: str, opened: Any) -> None:
    it = opened(REPORTS[name]())
    it.page.mouse.move(500, 700)
    it.page.wait_for_timeout(50)
    assert it.said == []
    assert [url for url in it.asked if not url.startswith("data:")] == [it.path.as_uri()]


@pytest.mark.parametrize(
    ("name", "scheme"), [("experiments 1 to 3", "light"), ("five trials", "dark"), ("hostile", "light")]
)
def test_axe_finds_no_serious_violation(name: str, scheme: str, opened: Any) -> None:
    it = opened(REPORTS[name](), color_scheme=scheme)
    it.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    found = Axe().run(it.page).response["violations"]
    serious = [
        f"{v['id']}: {v['help']}: {[node['html'][:160] for node in v['nodes'][:3]]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("name", ["experiments 1 to 3", "20,000 requests"])
def test_the_first_paint_comes_within_half_a_second(name: str, opened: Any) -> None:
    it = opened(REPORTS[name]())
    paints: list[float] = []
    # Others may be using the machine: the page is quick if it is quick once.
    while len(paints) < 10 and min(paints, default=500) >= 500:
        it.page.reload()
        paints.append(
            it.page.evaluate(
                """() => new Promise((done) => new PerformanceObserver((list, self) => {
                    const first = list.getEntriesByName('first-contentful-paint')[0];
                    if (first) { self.disconnect(); done(first.startTime); }
                }).observe({ type: 'paint', buffered: true }))"""
            )
        )
    assert min(paints) < 500, f"first paints in ms: {paints}"


def middle_of_lanes(it: Any, share: float) -> tuple[float, float]:
    """A point on the first timeline, ``share`` of the way along its axis, in its first arm."""
    box = it.page.locator("svg.timeline").first.bounding_box()
    scale = box["width"] / 1040
    return box["x"] + (128 + 896 * share) * scale, box["y"] + 90 * scale


def axis(it: Any) -> list[str]:
    """The labels of the first timeline's axis."""
    labels: list[str] = it.page.locator("svg.timeline").first.locator(".axis text").all_text_contents()
    return labels


def test_the_pointer_names_time_requests_stall_and_line(opened: Any) -> None:
    it = opened(samples.report(samples.experiment_3()))
    it.page.mouse.move(*middle_of_lanes(it, 8 / 30))
    told = it.page.locator(".tip").first.inner_text()
    assert told.splitlines() == [
        "8.00 s",
        "4 requests in flight, 1 waiting, 2 going to fail",
        "event loop blocked for 5.00 s",
        "GET /hello, blocking.py:16 in hello",
    ]
    it.page.mouse.move(*middle_of_lanes(it, 14.5 / 30))
    assert "pod terminating" in it.page.locator(".tip").first.inner_text()
    it.page.mouse.move(5, 5)
    assert it.page.locator(".tip").first.is_hidden()


def test_a_drag_zooms_and_a_double_click_shows_all_again(opened: Any) -> None:
    it = opened(samples.report(samples.experiment_3()))
    before = axis(it)
    bar = it.page.locator("svg.timeline path.stall").first
    wide = bar.bounding_box()["width"]
    it.page.mouse.move(*middle_of_lanes(it, 0.19))
    it.page.mouse.down()
    it.page.mouse.move(*middle_of_lanes(it, 0.5), steps=3)
    it.page.mouse.up()
    assert axis(it) == ["6 s", "8 s", "10 s", "12 s", "14 s"]
    assert bar.bounding_box()["width"] > 3 * wide
    it.page.locator("svg.timeline").first.dblclick()
    assert axis(it) == before
    assert bar.bounding_box()["width"] == pytest.approx(wide, abs=0.5)


def test_keys_zoom_pan_and_reset(opened: Any) -> None:
    it = opened(samples.report(samples.experiment_3()))
    before = axis(it)
    it.page.locator(".pan").first.focus()
    it.page.keyboard.press("+")
    assert axis(it) == ["8 s", "10 s", "12 s", "14 s", "16 s", "18 s", "20 s", "22 s"]
    it.page.keyboard.press("ArrowRight")
    assert axis(it)[0] == "10 s"
    said = it.page.locator("[aria-live]").first.text_content()
    assert said.startswith("17.25 s, "), said
    it.page.keyboard.press("ArrowLeft")
    assert axis(it)[0] == "8 s"
    it.page.keyboard.press("-")
    assert axis(it) == before
    it.page.keyboard.press("+")
    it.page.keyboard.press("Escape")
    assert axis(it) == before


def test_crosses_stay_at_their_time_when_zoomed(opened: Any) -> None:
    it = opened(samples.report(samples.experiment_3()))
    it.page.mouse.move(*middle_of_lanes(it, 0.0))
    it.page.mouse.down()
    it.page.mouse.move(*middle_of_lanes(it, 0.5), steps=3)
    it.page.mouse.up()
    d = it.page.locator("svg.timeline path.cross").first.get_attribute("d")
    missed_at_s = [p.ended_at for p in samples.probed_blocked(phase_s=1.5).probes if p.outcome == "failure"]
    drawn_at = [float(mark.split(" ")[0]) for mark in d[1:].split("M")]
    assert drawn_at == pytest.approx([128 + 896 * at / 15 for at in missed_at_s], abs=1.5)


def test_many_restarts_are_labelled_once_zoomed_in(opened: Any) -> None:
    it = opened(one_arm(samples.day_of_restarts()))
    shown = "svg.timeline text.ev:not([visibility=hidden])"
    assert it.page.locator(shown).all_text_contents() == ["500 restarts; zoom in for each"]
    it.page.locator(".pan").first.focus()
    for _ in range(8):
        it.page.keyboard.press("+")
    labels = it.page.locator(shown)
    assert labels.count() >= 1
    assert "runs again after" in labels.first.text_content()
    boxes = sorted((labels.nth(i).bounding_box() for i in range(labels.count())), key=lambda box: box["x"])
    assert all(a["x"] + a["width"] <= b["x"] for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("name", ["experiments 1 to 3", "20,000 requests", "500 restarts in 24 h", "hostile"])
def test_no_two_texts_of_a_drawing_overlap(name: str, opened: Any) -> None:
    it = opened(REPORTS[name]())
    overlapping = it.page.evaluate(
        """() => [...document.querySelectorAll('svg.timeline')].flatMap((svg) => {
          if (!svg.getBoundingClientRect().width) return [];
          const texts = [...svg.querySelectorAll('text:not([visibility=hidden])')]
            .map((text) => [text.textContent, text.getBoundingClientRect()]);
          return texts.flatMap(([a, p], i) => texts.slice(i + 1)
            .filter(([, q]) => p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
            .map(([b]) => `${a} / ${b}`));
        })"""
    )
    assert overlapping == []


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
@pytest.mark.parametrize("name", ["experiments 1 to 3", "hostile"])
def test_the_page_itself_never_scrolls_sideways(name: str, width: int, opened: Any) -> None:
    it = opened(REPORTS[name](), width=width)
    assert it.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_complete_without_javascript(opened: Any) -> None:
    it = opened(samples.report(samples.experiment_3()), java_script_enabled=False)
    seen = it.page.locator("main").inner_text()
    for words in ("Under a liveness probe", "HOLDS", "no answer in time", "time.sleep(HELLO_SECONDS)", "unstall lab"):
        assert words in seen
    assert it.page.locator("svg.timeline path.req").count() >= 3
    assert "See all" not in seen


def test_hostile_text_is_shown_and_never_run(opened: Any) -> None:
    it = opened(samples.hostile())
    assert it.page.title() != "owned"
    assert it.page.locator("script").count() == 1
    assert "<script>document.title='owned'</script>" in it.page.locator("main").inner_text()
    assert it.page.locator("[onmouseover]").count() == 0


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height as the file says."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_light_dark_and_printed_pages_can_be_pictured(opened: Any, browser: Browser, tmp_path: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened(samples.report(samples.experiment_3()), color_scheme="light").page
    dark = opened(samples.report(samples.experiment_3()), color_scheme="dark").page
    assert (light.evaluate(ground), dark.evaluate(ground)) == ("rgb(255, 255, 255)", "rgb(20, 23, 28)")
    pictures = [page.screenshot(full_page=True) for page in (light, dark)]
    assert pictures[0] != pictures[1]
    assert all(size_of(picture)[0] == 1200 and size_of(picture)[1] > 1500 for picture in pictures)
    dark.emulate_media(media="print")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"
    assert dark.locator(".hint").first.is_hidden()
    assert dark.pdf(format="A4").startswith(b"%PDF-")
