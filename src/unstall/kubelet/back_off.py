"""How long a container that died must wait before it is started again."""

from __future__ import annotations

BASE_S = 10.0
FACTOR = 2.0


class BackOff:
    """The crash-loop back-off of one container: 10, 20, 40, 80, 160, 300, 300 s, counted from the exit.

    `refuses` is asked at every sync that finds the container to be started. Where it does not refuse, the wait for
    the *next* time is doubled, so the first restart is at once, the second waits 10 s. The entry is forgotten when
    the container died more than twice the cap after the last start.

    ``base_s`` and ``cap_s`` are in seconds; a cap below the base lowers the base.
    """

    __slots__ = ("base_s", "cap_s", "current_s", "updated_at")

    def __init__(self, base_s: float = BASE_S, cap_s: float = 300.0) -> None:
        self.cap_s = cap_s
        self.base_s = min(base_s, cap_s)
        self.current_s = 0.0
        """The present wait; 0.0 while there is no entry."""
        self.updated_at: float | None = None

    def refuses(self, finished_at: float | None, now: float) -> float | None:
        """Seconds that still have to pass, or None where the container may start now.

        ``finished_at`` is the end of the newest dead instance *in the pod status the sync was given*; None where
        it shows none, which starts at once and leaves no entry.
        """
        if finished_at is None:
            return None
        expired = self.updated_at is None or finished_at - self.updated_at > 2 * self.cap_s + 1e-6
        if not expired:
            remaining_s = self.current_s - (now - finished_at)
            if remaining_s > 1e-6:
                return remaining_s
        self.current_s = self.base_s if expired else min(self.cap_s, self.current_s * FACTOR)
        self.updated_at = now
        return None


def go_duration(seconds: float) -> str:
    """A duration as Go prints it.

    >>> go_duration(10), go_duration(80), go_duration(300), go_duration(3600), go_duration(1.5)
    ('10s', '1m20s', '5m0s', '1h0m0s', '1.5s')
    """
    if 0 < seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{round(rest, 6):g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text
