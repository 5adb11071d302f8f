"""The drawing: valid, small, one path per lane and status, and true to its data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import nan
from xml.etree import ElementTree

import pytest
import samples

from unstall.model import Phase, PodTimeline, ProbeRecord, ProbeType
from unstall.report.strokes import WIDTH, X0
from unstall.report.timeline import Strip, outages_of, timeline_svg


def parsed(*timelines: PodTimeline) -> ElementTree.Element:
    """The drawing of some arms, as an XML tree: what is not well-formed does not parse."""
    return ElementTree.fromstring(timeline_svg([Strip(f"arm {i}", t, "about") for i, t in enumerate(timelines)]))


def texts(svg: ElementTree.Element) -> list[str]:
    """All words of a drawing, hidden ones left out."""
    return ["".join(t.itertext()) for t in svg.iter("text") if t.get("visibility") != "hidden"]


def spans(svg: ElementTree.Element, css: str) -> list[tuple[float, float]]:
    """The bars of all paths of one class, in seconds."""
    unit = json.loads(svg.attrib["data-i"])["unit"]
    found = []
    for path in svg.iter("path"):
        if path.get("class", "").split()[: len(css.split())] == css.split():
            x = 0
            for move, length in re.findall(r"m(-?\d+) ?-?\d+h(\d+)", path.attrib["d"]):
                x += int(move)
                found.append((x * unit, (x + int(length)) * unit))
                x += int(length)
    return found


def test_two_thousand_or_twenty_thousand_requests_are_the_same_few_elements() -> None:
    small, large = parsed(samples.busy(2_000)), parsed(samples.busy(20_000))
    for svg in (small, large):
        drawn = [p.attrib["class"] for p in svg.iter("path") if p.get("class", "").startswith("req")]
        assert len(drawn) == len(set(drawn)) == 3
    assert abs(len(list(small.iter())) - len(list(large.iter()))) < 12


def test_every_stall_stands_at_its_time() -> None:
    timeline = samples.blocked(3.0)
    drawn = spans(parsed(timeline), "stall")
    expected = [(s.started_at, s.started_at + s.duration_s) for s in timeline.stalls]
    assert [t for span in drawn for t in span] == pytest.approx([t for span in expected for t in span], abs=0.002)


def test_every_request_is_drawn_from_due_to_answered() -> None:
    timeline = samples.awaited(3.0)
    drawn = sorted(spans(parsed(timeline), "req served"))
    expected = sorted((r.due_at, r.answered_at) for r in timeline.requests)
    assert [t for span in drawn for t in span] == pytest.approx([t for span in expected for t in span], abs=0.002)


def test_the_longest_arm_decides_the_axis_of_all() -> None:
    svg = parsed(samples.blocked(5.0), samples.awaited(3.0))
    assert json.loads(svg.attrib["data-i"])["end"] == 27.0
    assert [t for t in texts(svg) if re.fullmatch(r"\d+ s", t)] == ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s"]


def test_only_probes_that_were_sent_have_a_lane() -> None:
    assert {"startup", "liveness", "readiness"} & set(texts(parsed(samples.blocked(3.0)))) == set()
    assert {"startup", "liveness", "readiness"} & set(texts(parsed(samples.busy(100)))) == {"liveness", "readiness"}


def test_the_description_says_what_the_drawing_shows() -> None:
    svg = parsed(samples.probed_blocked())
    assert svg.get("role") == "img"
    assert svg.findtext("desc") == (
        "arm 0: 30.0 s observed, 1 restart, 3 missed probes, 3 stalls, the longest 5.00 s, 5 requests, 2 failed."
    )
    ids = svg.attrib["aria-labelledby"].split()
    assert [svg.find(f"*[@id='{ident}']") is not None for ident in ids] == [True, True]


def test_a_restart_says_how_long_it_took() -> None:
    assert [o.words() for o in outages_of(samples.probed_blocked())] == ["restart, runs again after 3.90 s"]
    killed = PodTimeline(9.0, (Phase("running", 0, 5), Phase("terminating", 5, 9)))
    assert [o.words() for o in outages_of(killed)] == ["killed, not running again"]
    assert {o.words() for o in outages_of(samples.never_started())} == {"start failed"}
    assert outages_of(samples.awaited(1.0)) == []


def test_records_without_a_time_are_left_out_and_counted() -> None:
    timeline = replace(samples.blocked(3.0), probes=(ProbeRecord(ProbeType.LIVENESS, nan, 2.0, "failure"),))
    svg = parsed(timeline)
    assert "(1 record without a valid time not drawn)" in " ".join(texts(svg))
    assert "nan" not in ElementTree.tostring(svg, "unicode").lower()


@pytest.mark.parametrize(
    "timeline",
    [
        PodTimeline(0.0),
        PodTimeline(nan),
        PodTimeline(5.0),
        samples.never_started(),
        samples.day_of_restarts(),
        PodTimeline(1e-5, (Phase("running", 0, 1e-5),)),
        PodTimeline(1e9, (Phase("running", 0, 1e9),)),
    ],
    ids=["no time", "not a number", "empty", "never started", "500 restarts", "ten microseconds", "thirty years"],
)
def test_odd_timelines_are_drawn_within_the_picture(timeline: PodTimeline) -> None:
    svg = parsed(timeline)
    numbers = [float(t.attrib["x"]) for t in svg.iter("text") if t.get("visibility") != "hidden"]
    assert all(0 <= x <= X0 + WIDTH + 1 for x in numbers)
    assert 2 <= len(svg.findall("g[@class='axis']/text")) <= 9


def test_markup_in_names_is_only_text() -> None:
    svg = ElementTree.fromstring(timeline_svg([Strip("<b>&\"' \x00 {clip}", samples.blocked(1.0), "</svg>")], "x"))
    assert any(words.endswith("<b>&\"' \\x00 {clip}</svg>") for words in texts(svg))


def test_a_long_name_keeps_its_ends_and_its_whole_in_the_title() -> None:
    svg = ElementTree.fromstring(timeline_svg([Strip("a" * 5000 + "z", PodTimeline(1.0))]))
    heading = svg.find("text[@class='arm']")
    assert heading is not None
    assert heading.findtext("title") == "a" * 5000 + "z"
    assert heading.find("title").tail == "a" * 30 + "…" + "a" * 28 + "z"  # type: ignore[union-attr]


def test_a_startup_probe_that_finds_nobody_is_no_missed_probe() -> None:
    crosses = [p.attrib["class"] for p in parsed(samples.never_started()).iter("path") if "cross" in p.get("class", "")]
    assert crosses == ["cross early", "cross"]
    assert samples.never_started().missed_probes == 0
