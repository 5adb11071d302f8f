"""One container of one pod as Kubernetes v1.36.2's kubelet probes, kills and restarts it: facts in, wishes out.

Rules of this file: it never sleeps, sends, logs or looks at a clock. Time is an argument of every fact, in seconds
on any monotonic clock, and never goes back. Randomness is a callable that returns U[0, 1). The same facts with the
same random numbers give the same wishes, live or virtual.

Theory of operation
-------------------
Three things go on side by side in a kubelet, and most surprises come from how they meet.

*Workers*, one per probe (`worker.py`), run on tickers of their own. They read a *status cache*, not the container.
What they find out they publish as a value per container.

The *pod sync* is the only one that acts. It runs when the pod is added, when a container started or died, when a
worker published a change (a liveness worker: only Failure), and when it had asked to be run again. It writes the
status cache, triggers an unready readiness worker to probe at once, and then decides with a table (`restarting.py`)
what to kill and what to start. There is one sync at a time per pod: while it kills a container it *blocks*, for the
whole grace period if need be. The status cache stays as it was; so a container being killed still shows as running,
and a pod without a readiness probe stays ready until its container has long gone. Only readiness values go to the
API past the sync.

The *container* dies when it likes. An exit that the kubelet did not cause is noticed at the next relist, up to 1 s
later. An exit it did cause continues the sync that killed, *with the pod status of before the kill*. So a restart
after a probe kill asks the back-off about the instance before; the first few restarts are then at once, where a
crashing container waits from its second on (`back_off.py`). A refused restart is asked again when the relist has
shown the exit, and then when the wait is over: not exactly then, but stretched by up to a half, and at the latest
every 60 s (stretched likewise).

    state      what is going on                          left by                                 sync
    new        no container yet                          the first sync -> starting              runs
    starting   the driver was asked for a container      container_started -> running            blocked
    running    as far as the kubelet knows               probe kill -> killing; exit noticed     runs
    killing    SIGTERM or preStop under way              container_exited -> starting, dead      blocked
    dead       to be started again, back-off refuses     a sync it does not refuse -> starting   runs
    over       nothing will be started any more          never                                   runs, does nothing

Example
-------
A liveness probe every 10 s, one failure allowed, and an app that does not answer:

>>> from unstall.model import HttpGet, ProbeSpec, ProbeType
>>> probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(port=8000), failure_threshold=1)
>>> pod = Pod(PodSpec(probes=(probe,)), random=lambda: 0.5)
>>> pod.pod_added(0.0)
[StatusChanged(started=False, ready=False), StartContainer()]
>>> [wish for wish in pod.container_started(0.4) if not isinstance(wish, PodEvent)]
[StatusChanged(started=True, ready=True), ReadyChanged(ready=True)]
>>> pod.next_wake
10.0
>>> [type(wish).__name__ for wish in pod.wake(10.0)]
['Published', 'StartProbe']
>>> wishes = pod.probe_ended(ProbeType.LIVENESS, Outcome.FAILURE, 11.0, "context deadline exceeded")
>>> [wish.message for wish in wishes if isinstance(wish, PodEvent)]
['Liveness probe failed: context deadline exceeded', 'Container app failed liveness probe, will be restarted']
>>> wishes[-1].times()
KillTimes(sigterm_after_s=0.0, stop_timeout_s=30, sigkill_after_s=30.0)
>>> pod.container_exited(0, 14.0)
[StartContainer()]

A driver is a loop: carry out the wishes in order, wait until ``pod.next_wake`` or until something happened, tell
the pod, repeat. `StartProbe` is answered by `probe_ended`, `StartContainer` by `container_started`, `Kill` by
`container_exited`; an exit nobody asked for is `container_exited` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from unstall.errors import OutOfOrder
from unstall.kubelet.back_off import BASE_S, BackOff, go_duration
from unstall.kubelet.killing import KillReason, grace
from unstall.kubelet.readiness import is_ready, is_started
from unstall.kubelet.restarting import ContainerState, pod_actions, restarts_after_exit
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import (
    Kill,
    Outcome,
    Published,
    ReadyChanged,
    StartContainer,
    StartProbe,
    StatusChanged,
    Value,
    Waiting,
    Wish,
)
from unstall.kubelet.worker import EDGE_S, MAX_TRIES, NEVER, CachedStatus, Step, Worker
from unstall.model import PodEvent, ProbeType

COUNTED = {Outcome.SUCCESS: True, Outcome.WARNING: True, Outcome.FAILURE: False, Outcome.UNKNOWN: False}
"""What an outcome counts as; `Outcome.ERROR` counts as nothing."""


class State(StrEnum):
    """Where the pod's one container stands, as far as the kubelet knows."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    KILLING = "killing"
    DEAD = "dead"
    OVER = "over"


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


EXACT = Kubelet(relist_s=0.0, resync_s=math.inf, stretch=0.0, queue_s=0.0)
"""A kubelet without delays of its own, for reasoning and for exact cases."""


class Pod:
    """The machine: one container, its workers, its back-off. See the module for the facts and an example.

    ``clock_offset`` is the fraction of a second that the wall clock shows at time 0: the container's start is
    truncated to whole seconds of the wall clock. ``ready`` and ``started`` are what the API shows, ``instance``
    counts container starts from 0 and is None before the first.
    """

    __slots__ = (
        "_back_off",
        "_clock_offset",
        "_computed",
        "_deletion_grace_s",
        "_dirty",
        "_exit",
        "_kubelet",
        "_notice_at",
        "_now",
        "_out",
        "_random",
        "_readiness",
        "_restarts",
        "_seen_exit_at",
        "_sync_at",
        "deleting",
        "instance",
        "ready",
        "spec",
        "started",
        "state",
        "status",
        "workers",
    )

    def __init__(
        self,
        spec: PodSpec,
        random: Callable[[], float],
        kubelet: Kubelet = Kubelet(),
        clock_offset: float = 0.0,
    ) -> None:
        self.spec = spec
        self.state = State.NEW
        self.instance: int | None = None
        self.ready = False
        self.started = False
        self.deleting = False
        self.status = CachedStatus()
        self.workers: dict[ProbeType, Worker] = {}
        self._random = random
        self._kubelet = kubelet
        self._clock_offset = clock_offset
        self._back_off = BackOff(kubelet.back_off_base_s, spec.max_back_off_s)
        self._readiness: Worker | None = None
        self._computed: tuple[bool, bool] | None = None
        self._exit: tuple[int, float] | None = None
        """Code and time of this instance's exit, known to the container runtime only, until a sync saw it."""
        self._seen_exit_at: float | None = None
        """When the newest dead instance ended, as the pod status shows it."""
        self._restarts = False
        self._deletion_grace_s: int | None = None
        self._dirty = False
        self._notice_at = NEVER
        self._sync_at = NEVER
        self._now = -math.inf
        self._out: list[Wish] = []

    # --- facts ------------------------------------------------------------------------------------

    def pod_added(self, now: float) -> list[Wish]:
        """The kubelet got the pod: workers are born, then the container is asked for."""
        self._tell(now)
        kubelet = self._kubelet
        for type in ProbeType:
            probe = self.spec.probe(type)
            if probe is None:
                continue
            young = probe.period_s > now - kubelet.started_at
            worker = Worker(probe, now + self._random() * probe.period_s if young else now)
            self.workers[type] = worker
            if type is ProbeType.READINESS:
                self._readiness = worker
        self._run_due(now)
        self._sync(now)
        return self._settle(now)

    def container_started(self, now: float) -> list[Wish]:
        """The container's process runs. Also accepted unasked, for a container that was there before."""
        self._tell(now)
        self.instance = 0 if self.instance is None else self.instance + 1
        self.state = State.RUNNING
        self._exit = None
        self._notice_at = NEVER
        status = self.status
        status.instance = self.instance
        status.state = "running"
        status.started_at = math.floor(now + self._clock_offset + EDGE_S) - self._clock_offset
        self._event("Created", "Container created")
        self._event("Started", "Container started")
        self._sync(now)
        return self._settle(now)

    def wake(self, now: float) -> list[Wish]:
        """Time passed: whatever was due until now happens now. Too early a call changes nothing."""
        self._tell(now)
        self._run_due(now)
        return self._settle(now)

    def probe_ended(
        self, type: ProbeType, outcome: Outcome, now: float, output: str = "", state: str = "unknown"
    ) -> list[Wish]:
        """One try of a probe ended. ``output`` is the text after ``probe failed: ``, or the error's.

        ``state`` is the result that a prober gave along with its error, for the event's text. A prober that
        raised is an `Outcome.ERROR`.
        """
        self._tell(now)
        worker = self.workers[type]
        if not worker.probing:
            raise OutOfOrder(f"no {type} probe is under way at {now:g} s")
        if outcome is Outcome.ERROR and worker.attempt < MAX_TRIES:
            worker.attempt += 1
            return [StartProbe(type, worker.probe, worker.attempt)]
        worker.probing = False
        if outcome is not Outcome.SUCCESS:
            self._probe_event(type, outcome, output, state)
        if worker.ended:
            return self._settle(now)
        if outcome is not Outcome.ERROR:
            self._publish(worker, worker.record(COUNTED[outcome]))
        # The worker looks at its ticker at once, the sync that the change causes comes a moment later.
        self._run_due(now)
        return self._settle(now)

    def container_exited(self, code: int, now: float) -> list[Wish]:
        """The container's process ended, killed or by itself."""
        self._tell(now)
        if self.state is State.KILLING:
            self._exit = (code, now)
            self._killed(now)
        elif self.state is State.RUNNING and self._exit is None:
            self._exit = (code, now)
            delay_s = self._kubelet.relist_s
            self._notice_at = now + (self._random() * delay_s if delay_s else 0.0)
            self._run_due(now)
        else:
            raise OutOfOrder(f"no container runs that could have exited at {now:g} s (the pod is {self.state})")
        return self._settle(now)

    def pod_deleted(self, now: float, grace_s: int | None = None) -> list[Wish]:
        """The pod is to go: no more restarts. ``grace_s`` is the deletion's own grace, None the pod's."""
        self._tell(now)
        self._deletion_grace_s = grace_s
        self._stop_probing()
        if self.state is State.RUNNING:
            self._kill(now, KillReason.UNKNOWN, f"Stopping container {self.spec.container}", restarts=False)
        elif self.state is not State.KILLING:
            self._end()
        return self._settle(now)

    def probing_stopped(self, now: float) -> list[Wish]:
        """Liveness and startup workers are told to stop, the first step of a deletion; readiness goes on."""
        self._tell(now)
        self._stop_probing()
        return self._settle(now)

    # --- when -------------------------------------------------------------------------------------

    @property
    def next_wake(self) -> float:
        """When to call `wake` next unless something else happens before; infinite if never."""
        at = min(self._notice_at, self._sync_at)
        for worker in self.workers.values():
            if not worker.probing and not worker.ended and worker.tick_at < at:
                at = worker.tick_at
        return at

    def _tell(self, now: float) -> None:
        if now < self._now - EDGE_S:
            raise OutOfOrder(f"time went back from {self._now:g} s to {now:g} s")
        self._now = max(now, self._now)

    def _run_due(self, now: float) -> None:
        """Everything due until now, the most overdue first."""
        until = now + EDGE_S
        while self.next_wake <= until:
            if self._notice_at <= until:
                self._notice_at = NEVER
                self._notice(now)
            elif self._sync_at <= until:
                self._sync_at = NEVER
                self._dirty = True
                self._settle_syncs(now)
            else:
                worker = min(self.workers.values(), key=lambda worker: worker.wakes_at)
                self._wake_worker(worker, now)

    # --- workers ----------------------------------------------------------------------------------

    def _wake_worker(self, worker: Worker, now: float) -> None:
        """Its ticker is due. Where a trigger waits as well, chance decides which of them is taken."""
        worker.awake = True
        if worker.triggered and self._random() < 0.5:
            worker.take_trigger(now)
        else:
            worker.take_tick(now)
        self._run_worker(worker, now)

    def _run_worker(self, worker: Worker, now: float) -> None:
        step, changes = worker.run_once(self.status, now, self._kubelet.started_at)
        self._publish(worker, changes)
        if step is Step.PROBE:
            self._out.append(StartProbe(worker.type, worker.probe))
        elif step is Step.END:
            worker.ended = True

    def _publish(self, worker: Worker, changes: list[Value]) -> None:
        """Hand changed values to the sync, and readiness to the API at once, past a blocked sync."""
        for value in changes:
            instance = worker.instance
            assert instance is not None
            self._out.append(Published(worker.type, value, instance))
            if worker.type is ProbeType.LIVENESS and value is not Value.FAILURE:
                continue
            self._dirty = True
            if worker.type is ProbeType.READINESS and instance == self.status.instance:
                self._set_ready(value is Value.SUCCESS)

    # --- the pod sync -----------------------------------------------------------------------------

    def _settle(self, now: float) -> list[Wish]:
        """Let syncs and triggered readiness probes follow from each other until nothing is left to do now."""
        self._settle_syncs(now)
        out, self._out = self._out, []
        return out

    def _settle_syncs(self, now: float) -> None:
        readiness = self._readiness
        while True:
            if self._dirty:
                self._dirty = False
                self._sync(now)
            elif (
                readiness is not None
                and readiness.triggered
                and readiness.awake
                and not (readiness.probing or readiness.ended)
            ):
                readiness.take_trigger(now)
                self._run_worker(readiness, now)
            else:
                return

    def _sync(self, now: float) -> None:
        if self.state in (State.STARTING, State.KILLING, State.OVER):
            return
        self._sync_at = NEVER
        self._compute_status()
        if self.state is State.RUNNING:
            failed = self._failed_probe()
            if failed is not None:
                self._kill(now, failed.reason, failed.message, failed.restarts)
            elif self._readiness is not None and not self.ready:
                self._sync_again(self._kubelet.resync_s, now)
        else:
            self._start(now)

    def _compute_status(self) -> None:
        """What the status manager writes: started and ready, from the container's state and the cached values."""
        status = self.status
        startup, readiness = self.workers.get(ProbeType.STARTUP), self._readiness
        started = is_started(
            status.state == "running",
            startup.cached(status.instance) if startup else None,
            startup is not None and not startup.ended,
        )
        ready, triggers = is_ready(
            started,
            readiness.cached(status.instance) if readiness else None,
            readiness is not None and not readiness.ended,
        )
        if triggers and readiness is not None:
            readiness.triggered = True
        status.started = started
        if self._computed != (started, ready):
            self._computed = (started, ready)
            self.started = started
            self._out.append(StatusChanged(started, ready))
        self._set_ready(ready)

    def _set_ready(self, ready: bool) -> None:
        if self.ready is not ready:
            self.ready = ready
            self._out.append(ReadyChanged(ready))

    def _failed_probe(self) -> _ProbeKill | None:
        """What the table says about the running container: a kill, or nothing."""
        instance = self.status.instance
        cached = {type: worker.cached(instance) for type, worker in self.workers.items()}
        if Value.FAILURE not in (cached.get(ProbeType.LIVENESS), cached.get(ProbeType.STARTUP)):
            return None
        spec = self.spec
        state = ContainerState(
            spec.container,
            "running",
            liveness=cached.get(ProbeType.LIVENESS),
            startup=cached.get(ProbeType.STARTUP),
            restart_policy=spec.container_restart_policy,
            restart_rules=spec.restart_rules,
        )
        actions = pod_actions(spec.restart_policy, [state])
        if actions.kill_pod:
            return _ProbeKill(KillReason.UNKNOWN, f"Stopping container {spec.container}", restarts=False)
        return _ProbeKill(actions.kill[0].reason, actions.kill[0].message, restarts=True)

    # --- killing and starting ---------------------------------------------------------------------

    def _kill(self, now: float, reason: KillReason, message: str, restarts: bool) -> None:
        self._event("Killing", message)
        self.state = State.KILLING
        self._restarts = restarts
        self._sync_at = NEVER
        if self._exit is not None:  # it died by itself and no relist has shown it yet: nothing to wait for
            self._notice_at = NEVER
            self._killed(now)
            return
        probe = {KillReason.LIVENESS: ProbeType.LIVENESS, KillReason.STARTUP: ProbeType.STARTUP}.get(reason)
        own = self.spec.probe(probe) if probe else None
        grace_s = grace(
            reason, self.spec.grace_s, own.grace_s if own else None, self._deletion_grace_s if self.deleting else None
        )
        self._out.append(Kill(grace_s, reason, message, self.spec.prestop))

    def _killed(self, now: float) -> None:
        """The kill returned. The sync goes on with the pod status of before, so `_seen_exit_at` is still the old."""
        assert self._exit is not None
        code, finished_at = self._exit
        if self.deleting:
            if self._restarts:  # the deletion had waited for this kill to return
                self._event("Killing", f"Stopping container {self.spec.container}")
            self._end()
        elif not self._restarts:
            self._terminated(code, finished_at)
            self._compute_status()
            self.state = State.OVER
        else:
            self.state = State.DEAD
            self._start(now)
            if self.state is State.DEAD:
                delay_s = self._kubelet.relist_s
                self._notice_at = now + (self._random() * delay_s if delay_s else 0.0)
            else:
                self._seen_exit_at = finished_at
                self._exit = None

    def _notice(self, now: float) -> None:
        """A relist shows that the container has exited."""
        assert self._exit is not None
        code, finished_at = self._exit
        self._terminated(code, finished_at)
        if self.status.restartable:
            self.state = State.DEAD
            self._sync(now)
        else:
            self._compute_status()
            self.state = State.OVER

    def _terminated(self, code: int, finished_at: float) -> None:
        spec, status = self.spec, self.status
        self._exit = None
        self._seen_exit_at = finished_at
        status.state = "terminated"
        status.restartable = not self.deleting and restarts_after_exit(
            code, spec.restart_policy, spec.container_restart_policy, spec.restart_rules
        )

    def _start(self, now: float) -> None:
        """Ask the back-off, then ask the driver for a container or be asked again."""
        spec, back_off = self.spec, self._back_off
        remaining_s = back_off.refuses(self._seen_exit_at, now)
        if remaining_s is None:
            self.state = State.STARTING
            self._out.append(StartContainer())
            return
        pod = f"{spec.pod}_{spec.namespace}({spec.uid})"
        self._event("BackOff", f"Back-off restarting failed container {spec.container} in pod {pod}", type="Warning")
        wait = go_duration(back_off.current_s)
        message = f"back-off {wait} restarting failed container={spec.container} pod={pod}"
        self._out.append(Waiting(message, back_off.current_s, now + remaining_s))
        self._sync_again(min(remaining_s, self._kubelet.resync_s), now)

    def _sync_again(self, after_s: float, now: float) -> None:
        if after_s == math.inf:
            return
        kubelet = self._kubelet
        stretched_s = after_s * (1 + kubelet.stretch * self._random()) if kubelet.stretch else after_s
        self._sync_at = now + stretched_s + (kubelet.queue_s * self._random() if kubelet.queue_s else 0.0)

    def _stop_probing(self) -> None:
        self.deleting = self.status.deleting = True
        for worker in self.workers.values():
            if worker.type is not ProbeType.READINESS:
                worker.ended = True

    def _end(self) -> None:
        """The pod is gone: no worker is left."""
        self.state = State.OVER
        self._notice_at = self._sync_at = NEVER
        self.status.state = "terminated"
        for worker in self.workers.values():
            worker.ended = True
        self._computed_gone()

    def _computed_gone(self) -> None:
        if self._computed != (False, False):
            self._computed = (False, False)
            self.started = self.status.started = False
            self._out.append(StatusChanged(False, False))
        self._set_ready(False)

    # --- words ------------------------------------------------------------------------------------

    def _event(self, reason: str, message: str, type: str = "Normal") -> None:
        self._out.append(PodEvent(self._now, reason, message, type))

    def _probe_event(self, type: ProbeType, outcome: Outcome, output: str, state: str) -> None:
        said = _SAID.get(outcome)
        if said is not None:
            text = said[1].format(type=type.value.capitalize(), state=state)
            self._event(said[0], text + output, type="Warning")


_SAID = {
    Outcome.FAILURE: ("Unhealthy", "{type} probe failed: "),
    Outcome.WARNING: ("ProbeWarning", "{type} probe warning: "),
    Outcome.ERROR: ("Unhealthy", "{type} probe errored and resulted in {state} state: "),
}
"""Reason and text of the event a probe leaves; an unknown outcome without an error leaves none."""


@dataclass(frozen=True, slots=True)
class _ProbeKill:
    reason: KillReason
    message: str
    restarts: bool
