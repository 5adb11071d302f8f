"""Drives thousands of machines on a virtual clock, over all cores where asked to."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

from unstall.kubelet.delays import USUAL, Kubelet
from unstall.kubelet.life import DEFAULT_APP, App, Life, Toll
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import DAY_S, Stalls, StallSource
from unstall.kubelet.wishes import Wish

CHUNK = 500
"""Pods a process is given at a time."""


def simulate(
    spec: PodSpec,
    source: StallSource,
    pods: int,
    duration_s: float = DAY_S,
    seed: int = 0,
    app: App = DEFAULT_APP,
    kubelet: Kubelet = USUAL,
    processes: int = 1,
) -> Toll:
    """Live so many pods, each with its own history of stalls, and add up what it cost.

    The same seed gives the same toll, on any number of processes; 0 processes means all cores.

    >>> from unstall.kubelet.stalls import Scripted
    >>> from unstall.model import HttpGet, ProbeSpec, ProbeType
    >>> probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(8000))
    >>> simulate(PodSpec(probes=(probe,)), Scripted(((100.0, 60.0),)), pods=3, duration_s=600).restarts
    3
    """
    cores = processes or os.cpu_count() or 1
    chunks = [range(start, min(start + CHUNK, pods)) for start in range(0, pods, CHUNK)]
    total = Toll()
    if cores == 1 or len(chunks) <= 1:
        for chunk in chunks:
            total.add(_live(chunk, spec, source, duration_s, seed, app, kubelet))
        return total
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_live, chunk, spec, source, duration_s, seed, app, kubelet) for chunk in chunks]
        for job in jobs:
            total.add(job.result())
    return total


def _live(
    chunk: range, spec: PodSpec, source: StallSource, duration_s: float, seed: int, app: App, kubelet: Kubelet
) -> Toll:
    total = Toll()
    collecting = gc.isenabled()
    gc.disable()  # a life leaves no cycles
    try:
        for number in chunk:
            random = Random(seed * 1_000_003 + number)
            stalls = source.history(random, duration_s)
            total.add(Life(spec, stalls, duration_s, random.random, app, kubelet).play())
    finally:
        if collecting:
            gc.enable()
    return total


def play(
    spec: PodSpec,
    stalls: Stalls,
    duration_s: float,
    seed: int = 0,
    app: App = DEFAULT_APP,
    kubelet: Kubelet = USUAL,
    watch: Callable[[float, Wish], None] | None = None,
) -> Toll:
    """Live one pod tick by tick, nothing jumped over; ``watch`` is told every wish and its time."""
    return Life(spec, stalls, duration_s, Random(seed).random, app, kubelet, jump=False, watch=watch).play()
