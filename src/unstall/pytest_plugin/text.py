"""What a failed test prints: the call, the lines that led there, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unstall.model import Finding, Site
from unstall.units import seconds

_MOST = 10


@dataclass(frozen=True, slots=True)
class Blocked:
    """A blocking call that a test made, how often, for how long at most, and in which phase of the test."""

    finding: Finding
    longest_s: float
    times: int = 1
    phase: str = "call"


@dataclass(frozen=True, slots=True)
class Overdue:
    """A stall that broke the budget, or is long; ``sites`` are the lines it was in, innermost first."""

    blocked_s: float
    budget_s: float
    sites: tuple[Site, ...]
    phase: str = "call"


class Stalled(Exception):
    """A test blocked the event loop."""

    def __init__(self, test: str, blocked: Iterable[Blocked], overdue: Iterable[Overdue] = ()) -> None:
        self.blocked, self.overdue = tuple(blocked), tuple(overdue)
        self.test = test
        super().__init__("\n".join(self.lines()))

    def headline(self) -> str:
        """One line for the summary."""
        first = self.blocked[0].finding if self.blocked else None
        if first is None:
            return f"unstall.Stalled: {self.test} blocked the event loop for {seconds(self.overdue[0].blocked_s)}"
        more = f" and {len(self.blocked) - 1} more" if len(self.blocked) > 1 else ""
        return f"unstall.Stalled: {first.rule} {spoken(first)}  {place(first.site)}{more}"

    def lines(self) -> Iterator[str]:
        """The whole message."""
        yield f"unstall.Stalled: {self.test} blocked the event loop"
        for blocked in self.blocked[:_MOST]:
            yield from _call(blocked)
        if len(self.blocked) > _MOST:
            yield f"  and {len(self.blocked) - _MOST} more calls"
        for overdue in self.overdue[:_MOST]:
            yield from _overdue(overdue)
        if self.blocked:
            names = list(dict.fromkeys(spoken(b.finding) for b in self.blocked))
            allow = f'"{names[0]}"' if len(names) == 1 else "[" + ", ".join(f'"{n}"' for n in names) + "]"
            yield f"Allow it here:   @pytest.mark.unstall(allow={allow})"


def spoken(finding: Finding) -> str:
    """The call as people write it: ``requests.Session.get``."""
    return finding.primitive.name.replace("()", "")


def place(site: Site) -> str:
    """``app/billing.py:88 in render``."""
    where = f"{site.path}:{site.line}" if site.line else site.path
    return f"{where} in {site.qualname}" if site.line else where


def stall_line(overdue: Overdue) -> str:
    """A long stall that nothing explains, in one line."""
    where = ", called from ".join(place(site) for site in overdue.sites[:3]) or "a place that could not be seen"
    return (
        f"the event loop did not come round for {seconds(overdue.blocked_s)}, and no blocking call explains it: {where}"
    )


def _call(blocked: Blocked) -> Iterator[str]:
    finding = blocked.finding
    often = f", {blocked.times} times" if blocked.times > 1 else ""
    phase = f" (in its {blocked.phase})" if blocked.phase != "call" else ""
    yield f"  {finding.rule} {spoken(finding)}  {place(finding.site)}{phase}"
    yield from _from(step.site for step in reversed(finding.chains[0].steps[:-1]))
    yield f"  why            {finding.primitive.why}; here it took {seconds(blocked.longest_s)}{often}"
    if finding.fix:
        yield f"  instead        {finding.fix}"


def _overdue(overdue: Overdue) -> Iterator[str]:
    yield f"  for {seconds(overdue.blocked_s)}, longer than the {seconds(overdue.budget_s)} of its budget"
    yield from (f"  in             {place(site)}" for site in overdue.sites[:1])
    yield from _from(overdue.sites[1:])


def _from(sites: Iterable[Site]) -> Iterator[str]:
    for number, site in enumerate(sites):
        yield f"  {'called from' if not number else '':<14} {place(site)}"
