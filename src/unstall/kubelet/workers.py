"""The workers of one container, and who of them runs next."""

from __future__ import annotations

from collections.abc import Callable

from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import Published, Value, Wish
from unstall.kubelet.worker import NEVER, CachedStatus, Step, Worker
from unstall.model import ProbeType

# Members looked up once: on Python 3.11 looking one up on its enum is slow.
_STEP_PROBE, _LIVENESS, _VALUE_FAILURE, _STEP_END = Step.PROBE, ProbeType.LIVENESS, Value.FAILURE, Step.END


class Workers:
    """Up to three workers that read one status cache. What they want done goes to ``out``.

    ``published`` is set when a change was published that makes the pod sync; whoever syncs clears it.
    ``judged`` is set when a readiness was published, for the API. Terse ones do not say what they publish.
    """

    __slots__ = (
        "_kubelet_started_at",
        "_random",
        "_terse",
        "all",
        "by_type",
        "judged",
        "liveness",
        "out",
        "published",
        "readiness",
        "startup",
        "status",
    )

    def __init__(
        self, status: CachedStatus, random: Callable[[], float], kubelet_started_at: float, terse: bool
    ) -> None:
        self.status = status
        self.out: list[Wish] = []
        self.by_type: dict[ProbeType, Worker] = {}
        self.all: list[Worker] = []
        self.startup: Worker | None = None
        self.readiness: Worker | None = None
        self.liveness: Worker | None = None
        self.published = False
        self.judged = False
        self._random = random
        self._kubelet_started_at = kubelet_started_at
        self._terse = terse

    def born(self, spec: PodSpec, now: float) -> None:
        """Create them in Kubernetes' order. Beside a kubelet younger than its period a worker sleeps first."""
        for type in ProbeType:
            probe = spec.probe(type)
            if probe is None:
                continue
            young = probe.period_s > now - self._kubelet_started_at
            worker = Worker(probe, now + self._random() * probe.period_s if young else now)
            self.by_type[type] = worker
            self.all.append(worker)
        self.startup = self.by_type.get(ProbeType.STARTUP)
        self.readiness = self.by_type.get(ProbeType.READINESS)
        self.liveness = self.by_type.get(_LIVENESS)

    @property
    def wakes_at(self) -> float:
        """When the next of them runs by itself."""
        at = NEVER
        for worker in self.all:
            if worker.tick_at < at and not worker.probing and not worker.ended:
                at = worker.tick_at
        return at

    def run_next(self, now: float) -> None:
        """The most overdue ticker is taken. Where a trigger waits as well, chance decides between the two."""
        worker, at = self.all[0], NEVER
        for other in self.all:
            if other.tick_at < at and not other.probing and not other.ended:
                worker, at = other, other.tick_at
        worker.awake = True
        if worker.triggered and self._random() < 0.5:
            worker.take_trigger(now)
        else:
            worker.take_tick(now)
        self._run(worker, now)

    def run_triggered(self, now: float) -> bool:
        """Run readiness where it is triggered and idle; whether it did."""
        worker = self.readiness
        if worker is None or not worker.triggered or not worker.awake or worker.probing or worker.ended:
            return False
        worker.take_trigger(now)
        self._run(worker, now)
        return True

    def cached(self, worker: Worker | None) -> Value | None:
        """The worker's published value about the container in the status cache."""
        if worker is None or worker.ended or worker.instance != self.status.instance:
            return None
        return worker.value

    def publish(self, worker: Worker, changes: list[Value]) -> None:
        """Pass changed values on. Of a liveness worker only Failure makes the pod sync."""
        for value in changes:
            assert worker.instance is not None
            if not self._terse:
                self.out.append(Published(worker.type, value, worker.instance))
            if worker.type is not _LIVENESS or value is _VALUE_FAILURE:
                self.published = True
                self.judged = worker is self.readiness or self.judged

    def stop(self, readiness: bool) -> None:
        """End liveness and startup workers, and the readiness worker too where told so."""
        for worker in self.all:
            if readiness or worker is not self.readiness:
                worker.ended = True

    def _run(self, worker: Worker, now: float) -> None:
        step, changes = worker.run_once(self.status, now, self._kubelet_started_at)
        if changes:
            self.publish(worker, changes)
        if step is _STEP_PROBE:
            self.out.append(worker.first_try)
        elif step is _STEP_END:
            worker.ended = True
