"""Stalls from a random process or a script."""

from __future__ import annotations

from unstall.kubelet.stalls import apart


def test_stalls_that_touch_are_one_and_a_queued_one_begins_when_the_loop_is_free() -> None:
    assert apart([(1.0, 2.0), (2.0, 3.0), (10.0, 1.0)], 0.1) == ([1.0, 10.0], [6.0, 11.0])
    assert apart([(1.0, 2.0), (3.05, 1.0)], 0.1) == ([1.0], [4.05])
