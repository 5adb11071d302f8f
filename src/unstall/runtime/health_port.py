"""The observer's port: a thread of its own that answers for the pod whatever the app, or the disk, is doing."""

from __future__ import annotations

import _thread
import errno
import select
import time

from unstall.runtime import health, mapping, metrics, wire
from unstall.runtime.listener import Listener
from unstall.runtime.places import LIVEZ, METRICS, READYZ, STALLS, STARTUPZ
from unstall.runtime.pod import Pod, group_of
from unstall.runtime.recorder import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unstall.runtime.listener import Answer
    from unstall.runtime.observer import Death
    from unstall.runtime.wire import Request

TAKEN_AFTER_S = 3.0
"""How long a port may be taken before that is said: a process just replaced may still have it."""
AGAIN_S = 2.0
UNKNOWN_SERVER_S = 2.0
"""Where the app's own port is not known: how long after start-up the server has had it for sure."""
METRICS_FOR_S = 1.0
"""How long the same text is given to all who ask: it costs more than a probe's answer."""
_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def open_port(
    shared: mapping.Shared, map_fd: int, settings: dict[str, Any], death: Death, say: Callable[[str], None]
) -> HealthPort:
    """Start to answer on the port that the settings name, in a thread."""
    who = settings["who"]
    port = HealthPort(health.Worker(shared, who["pid"], who["worker"]), map_fd, settings["health"], death, say)
    port.start()
    return port


class HealthPort:
    """Answers /livez, /readyz, /startupz, /metrics and /stalls for all workers of the pod.

    ``choices`` are the app's settings for it; ``death`` knows whether this process was frozen; ``say`` writes one
    sentence where the app's log goes.
    """

    def __init__(
        self,
        worker: health.Worker,
        map_fd: int,
        choices: dict[str, Any],
        death: Death,
        say: Callable[[str], None],
    ) -> None:
        self.choices, self.port = choices, int(choices["port"])
        self.limits = health.Limits(choices["dead_after_s"], choices["busy_after_s"], choices["expected"])
        self.own = worker
        self._death = death
        self.departed = metrics.Departed()
        self._say = say
        self._epoll = select.epoll()
        self._listener = Listener(self._epoll, self.answer, (LIVEZ, READYZ, STARTUPZ))
        self._pod = Pod(self._epoll, worker, map_fd, group_of(worker.pid, choices["supervisor"]), self.port)
        self._pod.departed = self.departed.add
        self._was_started = self._said = False
        self._taken_since = self._try_at = self._patient_at = 0.0
        self._text, self._text_until = b"", 0.0
        self._paths = {
            LIVEZ: self._live, READYZ: self._ready, STARTUPZ: self._started, METRICS: self._metrics, STALLS: self._stalls
        }  # fmt: skip

    @property
    def awake_since(self) -> float:
        """Since when the observer was not frozen itself."""
        now = time.monotonic()
        if now - self._death.pulse_at > 1.0 and now >= self._patient_at:
            # Just thawed, it may be: the other thread notes that. Not waited for by each of many who ask at once.
            self._patient_at = now + 0.2
            time.sleep(0.005)
        return self._death.awake_since

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        failures, failed_at = 0, 0.0
        while failures < 5:
            try:
                self._turn(time.monotonic())
            except Exception as error:
                now = time.monotonic()
                failures, failed_at = failures + 1 if now - failed_at < 60 else 1, now
                self._say(f"the health port had to start anew: {type(error).__name__}: {error}")
                time.sleep(0.1)
        self._listener.close()
        self._pod.close()

    def _turn(self, now: float) -> None:
        self._pod.find_place(now)
        if self._pod.leads and not self._listener.listening and now >= self._try_at:
            self._take_port(now)
        elif not self._pod.leads and self._listener.listening:
            self._listener.close()
        for fd, event in self._epoll.poll(self._rest_s(now)):
            now = time.monotonic()
            if not self._listener.handle(fd, event, now):
                self._pod.handle(fd)
        self._listener.expire(time.monotonic())

    def _rest_s(self, now: float) -> float:
        """Until when there is nothing to do of itself; for ever where all is well."""
        times = [self._listener.deadline()]
        if not self._pod.leads and self._pod.waits:
            times.append(self._pod.try_at)
        if self._pod.leads and not self._listener.listening:
            times.append(self._try_at)
        soonest = min((at for at in times if at is not None), default=None)
        return -1.0 if soonest is None else max(0.001, soonest - now)

    def _take_port(self, now: float) -> None:
        if not self._may_take(now):
            return
        try:
            self._listener.listen(self.port)
        except OSError as error:
            self._taken_since = self._taken_since or now
            self._try_at = now + (0.1 if now - self._taken_since < TAKEN_AFTER_S else AGAIN_S)
            if not self._said and (now - self._taken_since >= TAKEN_AFTER_S or error.errno != errno.EADDRINUSE):
                self._said = True
                why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                self._say(f"the health port {self.port} {why}: nothing answers there; {_CHANGE}")

    def _may_take(self, now: float) -> bool:
        """Never the port the app's own server has, or is about to take."""
        ports = self.choices["app_ports"]
        if ports is not None and self.port in ports:
            if not self._said:
                self._said = True
                self._say(f"the health port {self.port} is the app's own port: nothing else answers there; {_CHANGE}")
            self._try_at = now + 3600
            return False
        if ports is None:
            cells = self.own.cells
            ready_at = cells[mapping.READY] and self.choices["began_at"] + cells[mapping.READY] + UNKNOWN_SERVER_S
            if not ready_at or now < ready_at:
                self._try_at = ready_at or now + 0.1
                return False
        return True

    # --- answers ------------------------------------------------------------------------------------

    def answer(self, request: Request, peer: str) -> Answer:
        """What a request gets. Never raises."""
        find = self._paths.get(request.path)
        if find is None:
            return _json(404, {"status": "unknown path", "paths": list(self._paths)})
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"status": "refused", "reason": "only GET and HEAD are answered"})
        try:
            return find(request, peer, time.monotonic())
        except Exception as error:
            return _json(500, {"status": "error", "reason": type(error).__name__})

    def _workers(self) -> list[health.Worker]:
        self.own.gone = self._death.happened
        return self._pod.workers

    def _live(self, request: Request, peer: str, now: float) -> Answer:
        return _verdict(health.live(self._workers(), self.limits, now, self.awake_since))

    def _ready(self, request: Request, peer: str, now: float) -> Answer:
        workers = self._workers()
        if not self._was_started:
            self._was_started, _ = health.started(workers, self.limits)
        return _verdict(health.ready(workers, self.limits, now, self.awake_since, self._was_started))

    def _started(self, request: Request, peer: str, now: float) -> Answer:
        workers = self._workers()
        passed, body = health.started(workers, self.limits)
        self._was_started = self._was_started or passed
        return _verdict((True, {"status": "started", "workers": len(workers)}) if self._was_started else (passed, body))

    def _metrics(self, request: Request, peer: str, now: float) -> Answer:
        if now >= self._text_until:
            facts = {**self.choices, "awake_since": self.awake_since}
            self._text = metrics.render(self._workers(), self.departed, facts, now)
            self._text_until = now + METRICS_FOR_S
        return 200, metrics.KIND, self._text

    def _stalls(self, request: Request, peer: str, now: float) -> Answer:
        if self.choices["stalls_from"] != "any" and not _is_local(request, peer):
            reason = "/stalls answers this machine only: use kubectl port-forward, or set UNSTALL_STALLS=any"
            return _json(403, {"status": "refused", "reason": reason})
        told = []
        for worker in self._workers():
            metrics.counts_of(worker)
            report = worker.report
            full_s = worker.full_s(now, self.awake_since)
            pool = {"full_s": round(full_s, 3), "held_by": worker.holding()} if full_s else None
            stalls = {"ongoing": report.get("ongoing"), "stalls": report.get("recent", [])[::-1]}
            told.append({**worker.who(), "in_flight": worker.shared.in_flight(100), "thread_pool": pool, **stalls})
        return _json(200, {"schema": 1, "workers": told})


_CHANGE = "set another health_port (UNSTALL_HEALTH_PORT, --health-port)"


def _is_local(request: Request, peer: str) -> bool:
    """From this machine, asked for by a local name, passed on by nobody.

    The name keeps out web pages that point a name of theirs at 127.0.0.1; the headers, proxies of the pod.
    """
    name = request.headers.get("host", "localhost").lower()
    name = name if name.endswith("]") else name.rpartition(":")[0] or name
    passed_on = "forwarded" in request.headers or any(key.startswith("x-forwarded") for key in request.headers)
    return peer in _LOOPBACK and name in _LOCAL_NAMES and not passed_on


def _verdict(verdict: health.Verdict) -> Answer:
    passed, body = verdict
    return _json(200 if passed else 503, body)


def _json(status: int, body: dict[str, Any]) -> Answer:
    return status, wire.JSON, to_json(body).encode("ascii") + b"\n"
