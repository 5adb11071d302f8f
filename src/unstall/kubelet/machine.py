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

from unstall.errors import OutOfOrder
from unstall.kubelet.back_off import BackOff
from unstall.kubelet.delays import USUAL, Kubelet
from unstall.kubelet.killing import PROBE_OF, KillReason, grace
from unstall.kubelet.readiness import is_ready, is_started
from unstall.kubelet.restarting import ContainerState, pod_actions, restarts_after_exit
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import (
    COUNTED,
    Kill,
    Outcome,
    ReadyChanged,
    StartContainer,
    StartProbe,
    State,
    StatusChanged,
    Value,
    Wish,
)
from unstall.kubelet.words import back_off_event, probe_events, start_events, stopping, waiting
from unstall.kubelet.worker import EDGE_S, MAX_TRIES, NEVER, CachedStatus
from unstall.kubelet.workers import Workers
from unstall.model import PodEvent, ProbeType

# Members looked up once: on Python 3.11 looking one up on its enum is slow.
_KILLING, _RUNNING, _STARTING, _ANSWERED_SUCCESS = State.KILLING, State.RUNNING, State.STARTING, Outcome.SUCCESS
_ANSWERED_ERROR, _VALUE_FAILURE = Outcome.ERROR, Value.FAILURE


class Pod:
    """The machine: one container, its workers, its back-off. See the module for the facts and an example.

    ``clock_offset`` is the fraction of a second that the wall clock shows at time 0: the container's start is
    truncated to whole seconds of that. ``ready`` and ``started`` are what the API shows, ``instance`` counts starts
    from 0 (None before the first), ``seen_exit_at`` is when the newest dead one ended, as the pod status shows it.
    A ``terse`` pod leaves out what no driver acts on: `Published` and the events of starts and probes.
    """

    __slots__ = (
        "_all", "_clock_offset", "_computed", "_deletion_grace_s", "_exit", "_kubelet", "_notice_at", "_now", "_out",
        "_random", "_restarts", "_sync_at", "_terse", "back_off", "deleting", "instance", "ready", "seen_exit_at",
        "spec", "started", "state", "status", "workers",
    )  # fmt: skip

    def __init__(
        self,
        spec: PodSpec,
        random: Callable[[], float],
        kubelet: Kubelet = USUAL,
        clock_offset: float = 0.0,
        terse: bool = False,
    ) -> None:
        self.spec = spec
        self.state = State.NEW
        self.instance: int | None = None
        self.ready = self.started = self.deleting = self._restarts = False
        self.status = CachedStatus()
        self.workers = Workers(self.status, random, kubelet.started_at, terse)
        self.back_off = BackOff(kubelet.back_off_base_s, spec.max_back_off_s)
        self.seen_exit_at: float | None = None
        self._random, self._terse = random, terse
        self._kubelet, self._clock_offset = kubelet, clock_offset
        self._computed: tuple[bool, bool] | None = None
        self._exit: tuple[int, float] | None = None  # code and time, until a sync has seen it
        self._deletion_grace_s: int | None = None
        self._notice_at = self._sync_at = NEVER
        self._now = -math.inf
        self._all, self._out = self.workers.all, self.workers.out

    def pod_added(self, now: float) -> list[Wish]:
        """The kubelet got the pod: workers are born, then the container is asked for."""
        self._tell(now)
        self.workers.born(self.spec, now)
        self._run_due(now)
        self._sync(now)
        return self._settle(now)

    def container_started(self, now: float) -> list[Wish]:
        """The container's process runs. Also accepted unasked, for a container that was there before."""
        self._tell(now)
        self.instance = 0 if self.instance is None else self.instance + 1
        self.state = _RUNNING
        self._exit = None
        self._notice_at = NEVER
        status = self.status
        status.instance, status.state = self.instance, "running"
        status.started_at = math.floor(now + self._clock_offset + EDGE_S) - self._clock_offset
        if not self._terse:
            self._out += start_events(now)
        if self.deleting:
            self._kill(now, KillReason.UNKNOWN, stopping(self.spec), restarts=False)
        else:
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
        raised is an `_ANSWERED_ERROR`.

        Raises:
            OutOfOrder: no probe of this type is under way.
        """
        self._tell(now)
        worker = self.workers.by_type.get(type)
        if worker is None or not worker.probing:
            raise OutOfOrder(f"no {type} probe is under way at {now:g} s")
        if outcome is _ANSWERED_ERROR and worker.attempt < MAX_TRIES:
            worker.attempt += 1
            return [StartProbe(type, worker.probe, worker.attempt)]
        worker.probing = False
        if outcome is not _ANSWERED_SUCCESS and not self._terse:
            self._out += probe_events(now, type, outcome, output, state)
        if outcome is not _ANSWERED_ERROR and not worker.ended:
            changes = worker.record(COUNTED[outcome])
            if changes:
                self.workers.publish(worker, changes)
        # The worker looks at its ticker at once, the sync that the change causes comes a moment later.
        self._run_due(now)
        return self._settle(now)

    def container_exited(self, code: int, now: float, finished_at: float | None = None) -> list[Wish]:
        """The container's process ended, killed or by itself (at ``finished_at``, where the news took a while)."""
        self._tell(now)
        if self._exit is not None or self.state not in (_RUNNING, _KILLING):
            raise OutOfOrder(f"no container runs that could have exited at {now:g} s (the pod is {self.state})")
        self._exit = (code, now if finished_at is None else finished_at)
        if self.state is _KILLING:
            self._killed(now)
        else:
            self._notice_at = now + self._kubelet.notices_after_s(self._random)
            self._run_due(now)
        return self._settle(now)

    def pod_deleted(self, now: float, grace_s: int | None = None) -> list[Wish]:
        """The pod is to go: no more restarts. ``grace_s`` is the deletion's own grace, None the pod's."""
        self._tell(now)
        self._deletion_grace_s = grace_s
        self._stop_probing()
        if self.state is _RUNNING:
            self._kill(now, KillReason.UNKNOWN, stopping(self.spec), restarts=False)
        elif self.state not in (_KILLING, _STARTING):
            self._end()
        return self._settle(now)

    def probing_stopped(self, now: float) -> list[Wish]:
        """Liveness and startup are told to stop, the first step of a deletion; readiness goes on."""
        self._tell(now)
        self._stop_probing()
        return self._settle(now)

    @property
    def next_wake(self) -> float:
        """When to call `wake` next unless something else happens before; infinite if never."""
        at = self._notice_at if self._notice_at < self._sync_at else self._sync_at
        for worker in self._all:
            if worker.tick_at < at and not worker.probing and not worker.ended:
                at = worker.tick_at
        return at

    def _tell(self, now: float) -> None:
        if now < self._now - EDGE_S:
            raise OutOfOrder(f"time went back from {self._now:g} s to {now:g} s")
        self._now = now if now > self._now else self._now

    def _run_due(self, now: float) -> None:
        until = now + EDGE_S
        while self.next_wake <= until:
            if self._notice_at <= until:
                self._notice(now)
            elif self._sync_at <= until:
                self._sync(now)
            else:
                self.workers.run_next(now)

    def _settle(self, now: float) -> list[Wish]:
        """Let syncs and triggered readiness probes follow from each other until nothing is left to do now."""
        workers = self.workers
        while workers.published or workers.run_triggered(now):
            if workers.judged:
                self._patch_ready()
            if workers.published:
                workers.published = False
                self._sync(now)
        wishes = self._out.copy()
        self._out.clear()
        return wishes

    def _sync(self, now: float) -> None:
        self._sync_at = NEVER
        if self.state in (_STARTING, _KILLING, State.OVER):
            return
        self._compute_status()
        if self.state is not _RUNNING:
            self._start(now)
        elif not self._kill_failed(now) and self.workers.readiness is not None and not self.ready:
            # A later sync would trigger it again; the sync of a ready pod changes nothing.
            self._sync_at = now + self._kubelet.syncs_after_s(math.inf, self._random)

    def _compute_status(self) -> None:
        """What the status manager writes: started and ready, from the container's state and the cached values."""
        status, workers = self.status, self.workers
        running = status.state == "running"
        startup, readiness = workers.startup, workers.readiness
        started = is_started(running, workers.cached(startup), startup is not None and not startup.ended)
        ready, triggers = is_ready(started, workers.cached(readiness), readiness is not None and not readiness.ended)
        if triggers and readiness is not None:
            readiness.triggered = True
        self._write_status(started, ready)

    def _write_status(self, started: bool, ready: bool) -> None:
        self.started = self.status.started = started
        if self._computed != (started, ready):
            self._computed = (started, ready)
            self._out.append(StatusChanged(started, ready))
        self._set_ready(ready)

    def _patch_ready(self) -> None:
        """A published readiness goes to the API at once, past a sync that is blocked."""
        self.workers.judged = False
        value = self.workers.cached(self.workers.readiness)
        if value is not None and self.status.state == "running" and self.started:
            self._set_ready(value is Value.SUCCESS)

    def _set_ready(self, ready: bool) -> None:
        if self.ready is not ready:
            self.ready = ready
            self._out.append(ReadyChanged(ready))

    def _kill_failed(self, now: float) -> bool:
        """Kill the running container where the table says so; whether it did."""
        workers = self.workers
        liveness, startup = workers.cached(workers.liveness), workers.cached(workers.startup)
        if liveness is not _VALUE_FAILURE and startup is not _VALUE_FAILURE:
            return False
        spec = self.spec
        own = (spec.container_restart_policy, spec.restart_rules)
        state = ContainerState(spec.container, "running", 0, liveness, startup, *own)
        actions = pod_actions(spec.restart_policy, [state])
        if actions.kill_pod:
            self._kill(now, KillReason.UNKNOWN, stopping(spec), restarts=False)
        else:
            self._kill(now, actions.kill[0].reason, actions.kill[0].message, restarts=True)
        return True

    def _kill(self, now: float, reason: KillReason, message: str, restarts: bool) -> None:
        self._out.append(PodEvent(now, "Killing", message))
        self.state = _KILLING
        self._restarts = restarts
        self._notice_at = self._sync_at = NEVER
        if self._exit is not None:  # it died by itself and no relist has shown it yet: nothing to wait for
            self._killed(now)
            return
        own = self.spec.probe(PROBE_OF[reason]) if reason in PROBE_OF else None
        deletion_grace_s = self._deletion_grace_s if self.deleting else None
        grace_s = grace(reason, self.spec.grace_s, own.grace_s if own else None, deletion_grace_s)
        self._out.append(Kill(grace_s, reason, message, self.spec.prestop))

    def _killed(self, now: float) -> None:
        """The kill returned. The sync goes on with the pod status of before: ``seen_exit_at`` is still the old."""
        assert self._exit is not None
        if self.deleting and not self._restarts:
            self._end()
        elif not self._restarts:
            self._terminated()
            self._compute_status()
            self.state = State.OVER
        else:
            # A deletion waits for the sync that kills, and so for the container that it starts again.
            self._start(now)
            if self.state is _STARTING:
                self.seen_exit_at = self._exit[1]
                self._exit = None
            elif self.deleting:
                self._end()
            else:
                self._notice_at = now + self._kubelet.notices_after_s(self._random)

    def _notice(self, now: float) -> None:
        """A relist shows that the container has exited."""
        self._notice_at = NEVER
        self._terminated()
        if self.status.restartable:
            self.state = State.DEAD
            self._sync(now)
        else:
            self._compute_status()
            self.state = State.OVER

    def _terminated(self) -> None:
        assert self._exit is not None
        code, self.seen_exit_at = self._exit
        self._exit = None
        spec, status = self.spec, self.status
        status.state = "terminated"
        status.restartable = not self.deleting and restarts_after_exit(
            code, spec.restart_policy, spec.container_restart_policy, spec.restart_rules
        )

    def _start(self, now: float) -> None:
        """Ask the back-off; where it does not refuse, ask the driver for a container."""
        remaining_s = self.back_off.refuses(self.seen_exit_at, now)
        if remaining_s is None:
            self.state = _STARTING
            self._out.append(StartContainer())
            return
        self.state = State.DEAD
        self._out.append(back_off_event(now, self.spec))
        self._out.append(waiting(self.spec, self.back_off.current_s, now + remaining_s))
        self._sync_at = now + self._kubelet.syncs_after_s(remaining_s, self._random)

    def _stop_probing(self) -> None:
        self.deleting = self.status.deleting = True
        self.workers.stop(readiness=False)

    def _end(self) -> None:
        """The pod is gone: no worker is left."""
        self.state = State.OVER
        self._notice_at = self._sync_at = NEVER
        self.status.state = "terminated"
        self.workers.stop(readiness=True)
        self._write_status(started=False, ready=False)
