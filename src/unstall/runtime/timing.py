"""What app and observer must agree on about time."""

PERIOD_S = 0.05
"""One beat: the loop stores a time twenty times a second. Fewer cost no less CPU worth having."""

LATE_S = 0.025
"""A beat that late may become a stall: where not all requests are looked at, they are from then on."""

EARLY, BUSY = 0.8, 0.4
"""Parts of the threshold after which a beat that is overdue is looked into: on a quiet loop, on a busy one.
The first is so long that a healthy loop wakes nobody for it."""
BUSY_S = 10.0
"""How long a loop counts as busy once a beat was that late."""


def stall_start(sign: float, beat: float) -> float:
    """When a stall that is going on began, given the last sign and the last tick (see `beat`)."""
    return sign if sign > beat else beat + PERIOD_S / 2
