"""One pod on a virtual clock: the machine, an app that stalls, and the time between stalls jumped over.

While nothing is wrong a probe changes nothing: it succeeds, its value is published already, and the ticker goes on.
So where the pod is at rest (`Life._at_rest`) arithmetic finds the next stall in which a probe would fail, counts
the failures that stay below every threshold, and moves the tickers on by whole periods. All else is the machine's.
With ``jump=False`` the machine is driven tick by tick; both ways give the same life.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from unstall.kubelet.delays import USUAL, Kubelet
from unstall.kubelet.killing import KillReason
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.stalls import apart
from unstall.kubelet.wishes import Kill, Outcome, ReadyChanged, StartContainer, StartProbe, State, Value, Waiting, Wish
from unstall.kubelet.worker import EDGE_S, Worker
from unstall.model import ProbeType

NEVER = math.inf
_CONCERNS = frozenset({StartContainer, Kill, ReadyChanged, Waiting})
# Members looked up once: on Python 3.11 looking one up on its enum is slow.
_KILLING, _RUNNING, _STARTUP, _READINESS = State.KILLING, State.RUNNING, ProbeType.STARTUP, ProbeType.READINESS
_ANSWERED_FAILURE, _ANSWERED_SUCCESS, _VALUE_FAILURE = Outcome.FAILURE, Outcome.SUCCESS, Value.FAILURE
_VALUE_SUCCESS = Value.SUCCESS


@dataclass(frozen=True, slots=True)
class App:
    """How the app behaves, in seconds. Before its port is open it refuses probes and does not hear SIGTERM.

    ``answers_in_s``: a health answer of a free loop; ``starts_in_s``: container start to open port; ``stops_in_s``:
    SIGTERM to exit with a free loop; ``restarts_in_s``: what the container runtime takes to start a container.
    """

    starts_in_s: float = 2.0
    answers_in_s: float = 0.005
    stops_in_s: float = 0.3
    restarts_in_s: float = 0.3
    exit_code: int = 0
    prestop_takes_s: float = 1.0
    """For a preStop hook that is not ``sleep``."""


DEFAULT_APP = App()


@dataclass(slots=True)
class Toll:
    """What one life, or many, cost. Times in seconds; ``found_after_s`` is from the stall to the kill.

    ``unready_s`` and ``down_s`` (no open port) count from when the pod first was ready, not its first start-up.
    """

    pods: int = 0
    lived_s: float = 0.0
    stalls: int = 0
    restarts: int = 0
    missed_probes: int = 0
    unready_s: float = 0.0
    down_s: float = 0.0
    back_offs: int = 0
    found_after_s: list[float] = field(default_factory=list)
    restarts_of_pod: list[int] = field(default_factory=list)

    def add(self, other: Toll) -> None:
        """Take another toll into this one."""
        for name in ("pods", "lived_s", "stalls", "restarts", "missed_probes", "unready_s", "down_s", "back_offs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.found_after_s += other.found_after_s
        self.restarts_of_pod += other.restarts_of_pod

    @property
    def restarts_per_pod_day(self) -> float:
        """Restarts of one pod in one day, on average."""
        return self.restarts / self.lived_s * 86400.0 if self.lived_s else 0.0

    @property
    def unready_share(self) -> float:
        """The share of the time in which the API said not ready, 0 to 1."""
        return self.unready_s / self.lived_s if self.lived_s else 0.0

    @property
    def down_share(self) -> float:
        """The share of the time in which no port was open, 0 to 1."""
        return self.down_s / self.lived_s if self.lived_s else 0.0


class Life:
    """One pod from 0 to ``until``. `play` lives it; ``toll`` is what it cost.

    ``watch`` is called with every time and wish, for those who want the whole story.
    """

    def __init__(
        self,
        spec: PodSpec,
        stalls: list[tuple[float, float]],
        until: float,
        random: Callable[[], float],
        app: App = DEFAULT_APP,
        kubelet: Kubelet = USUAL,
        jump: bool = True,
        watch: Callable[[float, Wish], None] | None = None,
    ) -> None:
        self.app = app
        self.until = until
        self.toll = Toll(pods=1, lived_s=until, stalls=len(stalls))
        self.pod = Pod(spec, random, kubelet, clock_offset=random(), terse=watch is None)
        self._watch = watch
        self._jump = jump
        self._starts, self._ends = apart(stalls, app.answers_in_s)
        self._next = 0  # the first stall that is not over
        self._answers: dict[ProbeType, tuple[float, Outcome]] = {}
        self._exit_at = NEVER
        self._exit_code = 0
        self._start_at = NEVER
        self._up_at = NEVER  # when the port opened, or opens
        self._unready_since: float | None = None
        self._down_since: float | None = None
        self._waits = False
        timeout_s = min((probe.timeout_s for probe in spec.probes), default=math.inf)
        fits = all(probe.timeout_s <= probe.period_s for probe in spec.probes)
        shortest_s = timeout_s - 2 * app.answers_in_s if fits else 0.0
        pairs = enumerate(zip(self._starts, self._ends, strict=True))
        self._long = [i for i, (start, end) in pairs if end - start >= shortest_s]
        self._fits = fits

    def play(self) -> Toll:
        """Live it."""
        pod, until = self.pod, self.until
        self._obey(pod.pod_added(0.0), 0.0)
        answers = self._answers
        while True:
            now = wake_at = pod.next_wake
            answered = None
            for type, (ended_at, _) in answers.items():
                if ended_at < now or (ended_at == wake_at and answered is None):
                    now, answered = ended_at, type
            if self._exit_at <= now or self._start_at <= now:
                now, answered = min(self._exit_at, self._start_at), None
            if now >= until:
                break
            wishes = self._step(now, answered)
            if wishes:
                self._obey(wishes, now)
            if self._jump and not answers:
                if pod.state is _KILLING:
                    self._sit_out()
                elif self._at_rest(now):
                    self._skip(until)
        self._finish()
        return self.toll

    def _step(self, now: float, answered: ProbeType | None) -> list[Wish]:
        """What comes first: an exit, a start, an answer, and only then what the pod does by itself."""
        pod = self.pod
        if answered is not None:
            outcome = self._answers.pop(answered)[1]
            if outcome is _ANSWERED_FAILURE and answered is not _STARTUP:
                self.toll.missed_probes += 1
            return pod.probe_ended(answered, outcome, now)
        if self._exit_at <= now:
            return self._exit(now)
        if self._start_at <= now:
            self._start_at = NEVER
            self._up_at = now + self.app.starts_in_s
            return pod.container_started(now)
        return pod.wake(now)

    def _obey(self, wishes: list[Wish], now: float) -> None:
        if self._watch is not None:
            for wish in wishes:
                self._watch(now, wish)
        for wish in wishes:
            kind = type(wish)
            if kind is StartProbe:
                assert isinstance(wish, StartProbe)
                self._answers[wish.type] = self._ask(now, wish.probe.timeout_s)
            elif kind in _CONCERNS:
                self._carry_out(wish, now)

    def _carry_out(self, wish: Wish, now: float) -> None:
        if isinstance(wish, StartContainer):
            self._start_at = now + self.app.restarts_in_s
            self.toll.back_offs += self._waits
            self._waits = False
        elif isinstance(wish, Kill):
            self._kill(wish, now)
        elif isinstance(wish, ReadyChanged):
            self._ready_changed(wish.ready, now)
        else:
            self._waits = True

    # --- the app ----------------------------------------------------------------------------------

    def _ask(self, now: float, timeout_s: float) -> tuple[float, Outcome]:
        """A probe sent now: when it is answered, and how."""
        if now < self._up_at:
            return now, _ANSWERED_FAILURE  # refused
        while self._next < len(self._ends) and self._ends[self._next] <= now:
            self._next += 1
        answered_at = self._answered_at(now)
        if answered_at - now >= timeout_s:
            return min(now + timeout_s, max(now, self._exit_at)), _ANSWERED_FAILURE
        if answered_at > self._exit_at:
            return max(now, self._exit_at), _ANSWERED_FAILURE  # reset
        return answered_at, _ANSWERED_SUCCESS

    def _answered_at(self, now: float) -> float:
        starts, ends, answer_s = self._starts, self._ends, self.app.answers_in_s
        i = self._next
        while i < len(ends) and ends[i] <= now:
            i += 1
        answered_at = now + answer_s
        while i < len(starts) and starts[i] < answered_at:
            if starts[i] >= self._up_at:
                answered_at = max(answered_at, ends[i] + answer_s)
            i += 1
        return answered_at

    def _kill(self, wish: Kill, now: float) -> None:
        """preStop, SIGTERM when the loop comes to it, SIGKILL when the grace is over."""
        prestop_s = self.app.prestop_takes_s if wish.prestop is not None and not isinstance(wish.prestop, int) else None
        times = wish.times(prestop_s)
        if wish.reason is not KillReason.UNKNOWN:
            self._found(now)
        asked_at, killed_at = now + times.sigterm_after_s, now + times.sigkill_after_s
        left_at = NEVER
        if asked_at >= self._up_at:
            left_at = self._answered_at(asked_at) - self.app.answers_in_s + self.app.stops_in_s
        self._exit_at, self._exit_code = (left_at, self.app.exit_code) if left_at < killed_at else (killed_at, 137)
        for type, (ended_at, _) in self._answers.items():
            if ended_at > self._exit_at:
                self._answers[type] = (self._exit_at, _ANSWERED_FAILURE)

    def _found(self, now: float) -> None:
        """A kill: how long ago the stall began, where there is one."""
        i = bisect_left(self._starts, now) - 1
        if i >= 0 and self._starts[i] >= self._up_at and self._ends[i] + self.app.answers_in_s >= now:
            self.toll.found_after_s.append(now - self._starts[i])

    def _exit(self, now: float) -> list[Wish]:
        if now > self._up_at:
            self._account_down()
        self._exit_at = self._up_at = NEVER
        if self._down_since is None:
            self._down_since = now
        return self.pod.container_exited(self._exit_code, now)

    def _ready_changed(self, ready: bool, now: float) -> None:
        if not ready:
            self._unready_since = now
        elif self._unready_since is not None:
            self.toll.unready_s += now - self._unready_since
            self._unready_since = None

    # --- the jump ---------------------------------------------------------------------------------

    def _at_rest(self, now: float) -> bool:
        """Whether probes change nothing until the next stall: all passed, nothing under way, nothing planned."""
        pod = self.pod
        if pod.state is not _RUNNING or not pod.ready or not self._fits:
            return False
        if self._exit_at < NEVER or now < self._up_at or pod.next_wake != pod.workers.wakes_at:
            return False
        started_at = pod.status.started_at
        return all(_rests(worker, pod.instance, started_at) for worker in pod.workers.all)

    def _skip(self, until: float) -> None:
        """Go on to the first stall that needs the machine: its tickers stand at the first tick inside it."""
        long, starts, ends = self._long, self._starts, self._ends
        answer_s = self.app.answers_in_s
        watched = [
            (w.tick_at, w.period_s, w.probe.timeout_s, (w.ft - 1) * w.period_s)
            for w in self.pod.workers.all
            if w.type is not _STARTUP
        ]
        j = bisect_left(long, self._next)
        while j < len(long):
            i = long[j]
            start, end = starts[i], ends[i]
            j += 1
            following = starts[long[j]] if j < len(long) else NEVER
            if start < self._up_at:
                continue
            missed = 0
            for tick_at, period_s, timeout_s, reached_after_s in watched:
                room_s = end + answer_s - timeout_s - _first_tick(tick_at, period_s, start - answer_s)
                if room_s >= 0:
                    if room_s >= reached_after_s:
                        self._move_into(start, end)
                        return
                    if following - answer_s <= end + period_s or end + period_s >= until:
                        self._move_to(start - answer_s)
                        return
                    missed += math.floor(room_s / period_s) + 1
            self.toll.missed_probes += missed
        self._move_to(until)

    def _move_into(self, start: float, end: float) -> None:
        """Go on to the tick of the first failure that reaches its threshold; those before it only count."""
        before, last_s = start - self.app.answers_in_s, end + self.app.answers_in_s
        firsts = [(w, _first_tick(w.tick_at, w.period_s, before)) for w in self.pod.workers.all]
        at = NEVER
        for worker, first in firsts:
            reached_at = first + (worker.ft - 1) * worker.period_s
            if worker.type is not _STARTUP and reached_at + worker.probe.timeout_s <= last_s:
                at = min(at, reached_at)
        if at >= self.until:
            self._move_to(before)
            return
        for worker, first in firsts:
            # A probe that is still under way by then is the machine's.
            ended = max(0, math.floor((at - worker.probe.timeout_s - first) / worker.period_s) + 1)
            worker.tick_at = first + ended * worker.period_s
            if ended and worker.type is not _STARTUP:
                worker.run, worker.last = ended, _VALUE_FAILURE
                self.toll.missed_probes += ended

    def _sit_out(self) -> None:
        """While a blocked container is being killed more failures of an unready pod only count."""
        if self._exit_at == NEVER or self.pod.ready or not self._fits:
            return
        workers, instance = self.pod.workers.all, self.pod.instance
        for worker in workers:
            if worker.triggered or worker.instance != instance or not _is_down(worker):
                return
        i = bisect_left(self._starts, min(worker.tick_at for worker in workers)) - 1
        if i < 0 or self._starts[i] < self._up_at:
            return
        blocked_until = min(self._exit_at, self._ends[i], self.until) - EDGE_S
        for worker in workers:
            probes = worker.type is _READINESS
            room_s = blocked_until - worker.tick_at - (worker.probe.timeout_s if probes else 0)
            if room_s > 0:
                ticks = math.floor(room_s / worker.period_s) + 1
                worker.tick_at += ticks * worker.period_s
                if probes:
                    worker.run += ticks
                    self.toll.missed_probes += ticks

    def _move_to(self, at: float) -> None:
        for worker in self.pod.workers.all:
            worker.tick_at = _first_tick(worker.tick_at, worker.period_s, at)

    def _account_down(self) -> None:
        if self._down_since is not None:
            self.toll.down_s += self._up_at - self._down_since
            self._down_since = None

    def _finish(self) -> None:
        toll, until = self.toll, self.until
        if self._unready_since is not None:
            toll.unready_s += until - self._unready_since
        if self._down_since is not None:
            toll.down_s += min(self._up_at, until) - self._down_since
        toll.restarts = self.pod.instance or 0
        toll.restarts_of_pod.append(toll.restarts)


def _first_tick(tick_at: float, period_s: float, after: float) -> float:
    """The first tick later than ``after``."""
    return tick_at if tick_at > after else tick_at + period_s * ((after - tick_at) // period_s + 1)


def _is_down(worker: Worker) -> bool:
    """Whether it does nothing until there is a new container, or its next failure would change nothing."""
    if worker.type is _READINESS:
        return worker.value is _VALUE_FAILURE and worker.last is _VALUE_FAILURE and worker.run >= worker.ft
    return worker.on_hold


def _rests(worker: Worker, instance: int | None, started_at: float) -> bool:
    """Whether its next success would change nothing, and its next failure be the first of a run."""
    if worker.probing or worker.triggered:
        return False
    if worker.type is _STARTUP:
        return worker.on_hold and worker.instance == instance
    if worker.tick_at - started_at < worker.probe.initial_delay_s:
        return False
    if worker.type is ProbeType.LIVENESS:
        # A new container takes it off hold at its next tick; a run of 0 counts like a run of successes.
        return (not worker.on_hold or worker.instance != instance) and (
            worker.run == 0 or worker.last is _VALUE_SUCCESS
        )
    return worker.instance == instance and worker.value is _VALUE_SUCCESS and worker.last is _VALUE_SUCCESS
