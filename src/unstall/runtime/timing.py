"""What app and observer must agree on about time."""

PERIOD_S = 0.05
"""One beat: the loop stores a time twenty times a second. Where requests come, fewer cost no less CPU worth having."""

QUIET_S, QUIET_PERIOD_S = 5.0, 0.1
"""How long a loop has nothing to do until it beats half as often: it is waking up that costs, and nothing else does."""
QUIET_CPU_S = 0.002
"""What a loop that has nothing to do computes at most from one beat to the next."""
QUIET_FROM_S = 0.1
"""The shortest threshold that leaves room for beats so far apart."""

LATE_S = 0.025
"""A beat that late may become a stall: where not all requests are looked at, they are from then on."""

EARLY, BUSY = 0.9, 0.5
"""Parts of the threshold after which a beat that is overdue is looked into: on a quiet loop, on a busy one.
The first is so long that a healthy loop wakes nobody for it."""
PATIENCE_S = 0.025
"""How long a loop that computes may go on beyond the threshold until it is seen whether that is one callback."""
BUSY_S = 10.0
"""How long a loop counts as busy once a beat was that late."""


def stall_start(sign: float, beat: float, period_s: float) -> float:
    """When a stall that is going on began, given the last sign, the last tick and when the next was due (see `beat`)."""
    return sign if sign > beat else beat + period_s / 2


def overdue_at(start: float, beat: float, period_s: float, threshold_s: float) -> float:
    """From when on a busy loop's beat is looked into: not before it is late, nor later than a stall is one."""
    return min(max(start + BUSY * threshold_s, beat + period_s + LATE_S / 2), start + threshold_s)
