"""Records as sentences: an end, a kill, a missed probe, a probe's settings."""

from __future__ import annotations

import datetime

from unstall import units
from unstall.model import Exec, Grpc, HttpGet, ProbeSpec
from unstall.probe.case import Case
from unstall.probe.evidence import Miss


def clock(at: float | None) -> str:
    """A time of day, UTC, as the cluster writes it: ``14:06:32``."""
    if at is None:
        return "at an unknown time"
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S")


def asked(probe: ProbeSpec | None) -> str:
    """What a probe asks: ``GET /health on port http``."""
    if probe is None:
        return "no probe"
    handler = probe.handler
    if isinstance(handler, HttpGet):
        scheme = "" if handler.scheme == "HTTP" else f"{handler.scheme} "
        return f"{scheme}GET {handler.path} on port {handler.port}"
    if isinstance(handler, Exec):
        return f"exec {' '.join(handler.command)[:80]}"
    if isinstance(handler, Grpc):
        return f"gRPC health on port {handler.port}"
    return f"TCP port {handler.port}"


def settings(probe: ProbeSpec) -> str:
    """A probe's patience: ``every 5 s, timeout 1 s, 2 failures``."""
    failures = units.plural(probe.failure_threshold, "failure")
    return f"every {probe.period_s} s, timeout {probe.timeout_s} s, {failures}"


def ended(case: Case) -> str:
    """How the instance in question ended; empty while it is still being killed."""
    end = case.end
    if end is None or case.killing:
        return ""
    reason = f"/{end.reason}" if end.reason else ""
    life = case.life_s
    after = f" after {units.seconds(life)}" if life is not None else ""
    return f"exit {end.exit_code}{reason} at {clock(end.finished_at)}{after}"


def killed(case: Case) -> str:
    """The kubelet's word on the kill; empty where there is none."""
    if case.kill is None:
        return ""
    times = f", {units.plural(case.kill.count, 'time')}" if case.kill.count > 1 else ""
    return f'event Killing: "{case.kill.message}"{times}, last {clock(case.kill.last_at)}'


def missed(case: Case, one: Miss) -> str:
    """A missed probe: what was asked, how it was answered, how often at least."""
    probe = case.probe(one.type)
    what = f" ({asked(probe)}; {settings(probe)})" if probe else ""
    answer = f"answered {one.status}" if one.status else one.answer.value
    times = units.plural(one.count, "time")
    return f"{one.type} probe: {answer}, {times}, last {clock(one.last_at)}{what}"
