"""What app and observer must agree on about time."""

PERIOD_S = 0.05
"""One beat: the loop stores a time twenty times a second. Fewer cost no less CPU worth having."""


def stall_start(sign: float, beat: float) -> float:
    """When a stall that is going on began, given the last sign and the last tick (see `beat`)."""
    return sign if sign > beat else beat + PERIOD_S / 2
