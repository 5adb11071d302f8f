"""The delays that a kubelet adds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unstall.kubelet.back_off import BASE_S


@dataclass(frozen=True, slots=True)
class Kubelet:
    """The delays of one kubelet, in seconds. ``started_at`` is when its probe manager started.

    ``relist_s``: how often exits are looked for. ``resync_s``: the longest a sync that has something left to do is
    put off; ``stretch``: by how much of itself, at most; ``queue_s``: how often the queue of syncs is looked at.
    """

    started_at: float = -math.inf
    relist_s: float = 1.0
    resync_s: float = 60.0
    stretch: float = 0.5
    queue_s: float = 1.0
    back_off_base_s: float = BASE_S

    def notices_after_s(self, random: Callable[[], float]) -> float:
        """How long an exit goes unnoticed: until the next relist, whose phase nobody knows."""
        return random() * self.relist_s if self.relist_s else 0.0

    def syncs_after_s(self, wanted_s: float, random: Callable[[], float]) -> float:
        """When a sync that is wanted after so long really runs; infinite where this kubelet does not resync."""
        wanted_s = min(wanted_s, self.resync_s)
        if wanted_s == math.inf:
            return math.inf
        stretched_s = wanted_s * (1 + self.stretch * random()) if self.stretch else wanted_s
        return stretched_s + (self.queue_s * random() if self.queue_s else 0.0)


USUAL = Kubelet()
"""A kubelet as it comes."""
EXACT = Kubelet(relist_s=0.0, resync_s=math.inf, stretch=0.0, queue_s=0.0)
"""A kubelet without delays of its own, for reasoning and for exact cases."""
