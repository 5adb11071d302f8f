"""The lines that held the loop, each with its source frame and how the framework came there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unstall import units
from unstall.model import CallChain, Cause, Finding, Site, Stall
from unstall.report import words

MOST_SITES = 6
MOST_HOPS = 12
CAUSES = {
    "syscall_s": "waiting in a system call",
    "cpu_s": "computing",
    "lock_s": "waiting for a lock",
    "gil_s": "waiting for the GIL",
    "gc_s": "collecting garbage",
    "run_queue_s": "waiting for a processor",
    "throttled_s": "throttled by the CPU limit",
    "suspended_s": "suspended",
}


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A numbered line; ``guilty`` marks the one that blocked."""

    number: int
    text: str
    guilty: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """One line of the way to the guilty call."""

    label: str
    place: str
    whole: str
    depth: int


@dataclass(frozen=True, slots=True)
class Guilty:
    """All stalls of one line, together."""

    place: str
    whole: str
    rule: str
    total: str
    longest: str
    stalls: str
    routes: str
    cause: str
    lines: tuple[SourceLine, ...]
    hops: tuple[Hop, ...]
    predicted: bool
    arms: str
    blamed: bool


def guilty_lines(
    stalls: Iterable[tuple[str, Stall]], findings: Sequence[Finding], least_s: float = 0.1
) -> list[Guilty]:
    """The lines behind (arm, stall) pairs of at least ``least_s``, the costliest first."""
    groups: dict[tuple[str, int, str], list[tuple[str, Stall]]] = {}
    for arm, stall in stalls:
        if stall.duration_s >= least_s:
            site = stall.site or Site("", 0)
            groups.setdefault((site.path, site.line, site.qualname), []).append((arm, stall))
    costliest = sorted(groups.values(), key=lambda group: -sum(s.duration_s for _, s in group))
    return [_guilty(group, findings) for group in costliest[:MOST_SITES]]


def _guilty(group: Sequence[tuple[str, Stall]], findings: Sequence[Finding]) -> Guilty:
    stalls = [stall for _, stall in group]
    first = max(stalls, key=lambda s: (bool(s.source), bool(s.stack), s.duration_s))
    finding = _predicted(first.site, findings)
    whole = words.visible(words.place(first.site)) or "place not known"
    routes = sorted({words.shorten(words.visible(s.route), 60) for s in stalls if s.route})
    chain = finding.chains[0] if finding and finding.chains else None
    return Guilty(
        place=words.shorten(whole),
        whole=whole,
        rule=next((s.rule for s in stalls if s.rule), finding.rule if finding else ""),
        total=units.seconds(sum(s.duration_s for s in stalls)),
        longest=units.seconds(max(s.duration_s for s in stalls)),
        stalls=units.plural(len(stalls), "stall"),
        routes=", ".join(routes[:3]) + (f" and {len(routes) - 3} more" if len(routes) > 3 else ""),
        cause=_cause(first.cause, first.duration_s),
        lines=tuple(_source(first)),
        hops=tuple(_chain_hops(chain) if chain else _stack_hops(first)),
        predicted=finding is not None,
        blamed=first.blame == "code",
        arms=", ".join(sorted({words.shorten(words.visible(arm), 40) for arm, _ in group})),
    )


def _predicted(site: Site | None, findings: Sequence[Finding]) -> Finding | None:
    if site is None:
        return None
    same = [f for f in findings if f.site.line == site.line and _same_file(f.site.path, site.path)]
    return same[0] if same else None


def _same_file(one: str, other: str) -> bool:
    return one == other or one.endswith("/" + other) or other.endswith("/" + one)


def _source(stall: Stall) -> list[SourceLine]:
    guilty = stall.site.line if stall.site else 0
    lines = [
        SourceLine(number, words.visible(line.expandtabs(4))[:400], number == guilty)
        for number, line in enumerate(stall.source[:15], start=stall.source_line)
    ]
    blank = [line for line in lines if line.text.strip()]
    while lines and not lines[-1].text.strip():
        lines.pop()
    margin = min((len(line.text) - len(line.text.lstrip()) for line in blank), default=0)
    return [SourceLine(line.number, line.text[margin:], line.guilty) for line in lines]


def _chain_hops(chain: CallChain) -> list[Hop]:
    hops = [_hop(chain.entrance.label, words.place(chain.entrance.site), 0)]
    for depth, step in enumerate(chain.steps[: MOST_HOPS - 1], start=1):
        callee = step.callee.removesuffix("()") + "()"
        call = f"await {callee}" if step.how == "await" else callee
        hops.append(_hop(call, f"{step.site.path}:{step.site.line}", depth))
    return hops


def _stack_hops(stall: Stall) -> list[Hop]:
    """The application's own frames, outermost first; library frames in between are left out."""
    own = [frame for frame in reversed(stall.stack) if frame.own][-MOST_HOPS:]
    hops = [_hop(stall.route, "", 0)] if stall.route and own else []
    for depth, frame in enumerate(own, start=len(hops)):
        hops.append(_hop(f"{frame.function}()", f"{frame.path}:{frame.line}", depth))
    if own and stall.stack and not stall.stack[0].own:
        inner = stall.stack[0]
        hops.append(_hop(f"{inner.function}()", f"{inner.path}:{inner.line}", len(hops)))
    return hops


def _hop(label: str, place: str, depth: int) -> Hop:
    label, place = words.visible(label), words.visible(place)
    return Hop(words.shorten(label, 60), words.shorten(place, 60), f"{label}  {place}".strip(), depth)


def _cause(cause: Cause | None, duration_s: float) -> str:
    """``5.00 s waiting in a system call``: the parts that are at least a twentieth of the stall."""
    if cause is None:
        return ""
    parts = [(getattr(cause, name), label) for name, label in CAUSES.items()]
    told = [(spent, label) for spent, label in parts if spent is not None and spent >= duration_s / 20]
    return ", ".join(f"{units.seconds(spent)} {label}" for spent, label in sorted(told, reverse=True))
