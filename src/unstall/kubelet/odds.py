"""How likely a blocked loop of a given length gets a container restarted, in closed form.

Probes start every period; the first falls at a random time 0 < f <= period after the block began. A probe fails if it
starts more than its timeout before the block ends; a probe slower than its period starts at once when the one before
it ends. A restart needs ``failure_threshold`` failures in a row, so the last of them must start early enough:
``f <= block - timeout - (failures - 1) x step``.
"""

from __future__ import annotations

import math

from unstall.kubelet.spec import PodSpec
from unstall.model import Exec, Grpc, HttpGet, ProbeSpec, ProbeType

SLOW_CLOSE_S = 0.04
"""A probe that times out ends this much later: its close waits for the peer (measured on a real kubelet)."""


def restart_probability(spec: PodSpec, block_s: float) -> float:
    """The probability that one block of so many seconds, at a random time, ends in a restart. 0 where no liveness
    probe asks the event loop: there is none, or it is a TCP probe, which the kernel answers.

    >>> from unstall.model import HttpGet, ProbeSpec, ProbeType
    >>> spec = PodSpec(probes=(ProbeSpec(ProbeType.LIVENESS, HttpGet(8000)),))
    >>> round(restart_probability(spec, 25.0), 3), restart_probability(spec, 15.0), restart_probability(spec, 40.0)
    (0.4, 0.0, 1.0)
    """
    probe = spec.probe(ProbeType.LIVENESS)
    if probe is None or not asks_the_loop(probe):
        return 0.0
    early_enough_s = block_s - probe.timeout_s - (probe.failure_threshold - 1) * step_s(probe)
    return min(1.0, max(0.0, early_enough_s / probe.period_s))


def restarts_at_phase(probe: ProbeSpec, block_s: float, first_s: float) -> bool:
    """Whether a block restarts the container when the first probe in it starts ``first_s`` seconds after it.

    Failures in a row are the k with ``f + kP < B - T``; a restart needs ``failure_threshold`` of them.
    """
    return first_s + (probe.failure_threshold - 1) * step_s(probe) < block_s - probe.timeout_s


def asks_the_loop(probe: ProbeSpec) -> bool:
    """Whether the event loop has to turn for the probe to succeed. A command is taken to ask the server."""
    return isinstance(probe.handler, HttpGet | Grpc | Exec)


def step_s(probe: ProbeSpec) -> float:
    """Seconds from one failing probe's start to the next: a probe slower than its period runs back to back."""
    return max(float(probe.period_s), probe.timeout_s + SLOW_CLOSE_S)


def longest_survived_s(spec: PodSpec) -> float:
    """The longest block that never ends in a restart; infinite where none does."""
    probe = spec.probe(ProbeType.LIVENESS)
    if probe is None or not asks_the_loop(probe):
        return math.inf
    return float(probe.timeout_s + (probe.failure_threshold - 1) * step_s(probe))


def found_within_s(spec: PodSpec) -> float:
    """The longest time from a deadlock to SIGTERM; infinite where nothing would notice."""
    probe = spec.probe(ProbeType.LIVENESS)
    if probe is None or not asks_the_loop(probe):
        return math.inf
    return float(probe.period_s + (probe.failure_threshold - 1) * step_s(probe) + probe.timeout_s)


CURVE_S = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)


def curve(spec: PodSpec) -> list[tuple[float, float]]:
    """Restart probability against block length, from the last length that is surely survived to the first that is
    surely not."""
    points = [(block_s, restart_probability(spec, block_s)) for block_s in CURVE_S]
    first = max((i for i, (_, odds) in enumerate(points) if odds == 0.0), default=0)
    last = next((i for i, (_, odds) in enumerate(points) if odds == 1.0), len(points) - 1)
    return points[first : last + 1]


def expected_restarts(spec: PodSpec, lengths_s: tuple[float, ...]) -> float:
    """The restarts to expect from these blocks, each at a random time and far from the others."""
    return sum(restart_probability(spec, length_s) for length_s in lengths_s)
