"""The timeline in a terminal."""

from __future__ import annotations

import pytest
import samples
from inline_snapshot import snapshot

from unstall.model import PodTimeline
from unstall.report.lanes import lanes_text

ODD = {
    "blocked": samples.blocked(3.0),
    "busy": samples.busy(1000),
    "never started": samples.never_started(),
    "500 restarts": samples.day_of_restarts(),
    "empty": PodTimeline(5.0),
    "not a number": PodTimeline(float("nan")),
}


def test_a_restarted_pod_reads_as_lanes() -> None:
    assert lanes_text(samples.probed_blocked()) == snapshot("""\
pod         ░░███████████████████████████▒▒▒▒▒▒▒▒░░█████████████████████████████
liveness          ×           ×          ×                                     •
event loop  ──█ 5.00 s ███ 5.00 s ███ 5.00 s ███────────────────────────────────
requests      ━━━━━━━━━━━
5 sent        ┈┈┈┈┈┈┈┈┈┈┈━━━━━━━━━━━
              ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈━━━━━━━━━━━━
              ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈×
              ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈×
            0 s        5 s        10 s        15 s       20 s       25 s    30 s
            ░ starting  ▒ told to stop  • probe answered  × missed or failed
            ━ served  ┈ waiting for the loop\
""")


def test_seven_bits_are_enough() -> None:
    assert lanes_text(samples.probed_blocked(), ascii=True) == snapshot("""\
pod         ++###########################!!!!!!!!++#############################
liveness          x           x          x                                     o
event loop  --# 5.00 s ### 5.00 s ### 5.00 s ###--------------------------------
requests      ===========
5 sent        ...........===========
              ......................============
              .................................x
              .................................x
            0 s        5 s        10 s        15 s       20 s       25 s    30 s
            + starting  ! told to stop  o probe answered  x missed or failed
            = served  . waiting for the loop\
""")


def test_many_requests_are_shown_as_how_many_were_in_flight() -> None:
    assert lanes_text(samples.busy(1000)) == snapshot("""\
pod         ████████████████████████████████████████████████████████████░░░░░███
liveness      •   ×   ×  ×   × •  •   •  •    × •  •   •   × •   •   ×  •  •
readiness      •  •   ×  •   ×  •  •  •   •   ×  •  •  •    × •   •   × •   •
event loop  ────███─███████████──█────█───█─████─────██─█████──────█████────────
requests           ▁   ▂▅█  ▁▅█               ▁▄            ▂▅         ▂▅
1,000 sent  ▃▄▄▃▄▃▆█▅▅████▃▅███▃▃▃▄▃▃▃▄▃▄▃▄▆▄▆██▂▄▂▃▂▂▅▃▃▄▆███▃▃▃▂▃▄▄▅███▃▄▄▄▄▃▂
failed                                                                  ×××××
            0 s        10 s       20 s        30 s       40 s       50 s   1 min
            ░ starting  • probe answered  × missed or failed\
""")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_asked(name: str, width: int) -> None:
    for ascii in (False, True):
        text = lanes_text(ODD[name], width, ascii)
        assert max(map(len, text.splitlines())) <= width
        assert text.isascii() or not ascii


def test_a_pod_without_requests_says_so() -> None:
    assert "requests    none" in lanes_text(PodTimeline(5.0)).splitlines()
