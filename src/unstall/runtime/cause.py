"""Where a stall's wall time went, seen from outside the stalled process.

Theory. The scheduler's own books (`schedstat`) say exactly how long a thread ran and how long it waited for a
processor; what is left of the wall time it slept, was stopped, or its cgroup was throttled. The remainder of
each short interval is given to the state the thread is in at the interval's end. Throttling is believed only
where the thread wanted to run, and never beyond what the cgroup itself has counted.
"""

from __future__ import annotations

import os

GIL_SWITCHES_PER_S = 80.0
"""A thread that waits for the GIL wakes up every 5 ms to ask again; one that waits for a lock sleeps."""
FREEZE_S = 0.25
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLLS = ("ep_poll", "do_epoll", "do_poll", "do_select")
"""Where a loop sleeps that has nothing to do."""


class Books:
    """The kernel's accounts of one thread and its cgroup; what cannot be read reads as None."""

    def __init__(self, pid: int, tid: int) -> None:
        self.task = f"/proc/{pid}/task/{tid}"
        self._schedstat = _open(self.task + "/schedstat")
        self._stat = _open(self.task + "/stat")
        self._status = _open(self.task + "/status")
        self._wchan = _open(self.task + "/wchan")
        self._machine = _open("/proc/stat")
        path, self._v1 = cgroup_stat(pid)
        self._cgroup = _open(path)

    def ran_and_waited(self) -> tuple[float, float] | None:
        """Seconds this thread has run and has waited for a processor since it began."""
        fields = _read(self._schedstat, 64).split()
        return (int(fields[0]) / 1e9, int(fields[1]) / 1e9) if len(fields) >= 2 else None

    def throttled(self) -> float:
        """Seconds the cgroup's quota has kept its threads from running."""
        key, unit = (b"throttled_time ", 1e9) if self._v1 else (b"throttled_usec ", 1e6)
        text = _read(self._cgroup, 4096)
        at = text.find(key)
        return int(text[at + len(key) :].split(None, 1)[0]) / unit if at >= 0 else 0.0

    def state(self) -> str:
        """The thread's state letter: R, S, D, T; empty where it is gone."""
        text = _read(self._stat, 1024)
        return text[text.rfind(b")") + 2 :][:1].decode()

    def processor(self) -> int:
        """The processor the thread ran on last; -1 where it is gone."""
        text = _read(self._stat, 1024)
        fields = text[text.rfind(b")") + 2 :].split()
        return int(fields[36]) if len(fields) > 36 else -1

    def stolen(self, processor: int) -> float:
        """Seconds for which a hypervisor ran others on this processor although it had work; in steps of 10 ms."""
        text = _read(self._machine, 65_536)
        at = text.find(b"\ncpu%d " % processor)
        fields = text[at + 1 :].split(None, 9) if at >= 0 else []
        return int(fields[8]) / TICKS_PER_S if len(fields) > 8 else 0.0

    def waits_in(self) -> str:
        """The kernel function the thread sleeps in; empty where that may not be read."""
        return _read(self._wchan, 128).decode("ascii", "replace")

    def switches(self) -> int:
        """How often the thread went to sleep of its own accord."""
        text = _read(self._status, 8192)
        at = text.find(b"\nvoluntary_ctxt_switches:")
        return int(text[at + 25 :].split(None, 1)[0]) if at >= 0 else 0

    def status(self) -> bytes:
        """The thread's `status` file, for its signal masks."""
        return _read(self._status, 8192)

    def close(self) -> None:
        """Close all files."""
        for fd in (self._schedstat, self._stat, self._status, self._wchan, self._machine, self._cgroup):
            if fd >= 0:
                os.close(fd)


class Ledger:
    """Adds up one stall after the other. All times are monotonic seconds and arguments."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._base: tuple[float, tuple[float, float] | None, float, float] = (0.0, None, 0.0, 0.0)
        self._spent = [0.0] * 6  # sleeping, lock, gil, suspended, throttled while wanting to run, unknown
        self._last: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
        self._switches = (0.0, 0)
        self._state = ""
        self._queueing = 0.0
        self._start = 0.0
        self._gc = 0.0
        self._stolen: tuple[float, int, float] = (0.0, -1, 0.0)  # from which sign on, where, how much until then

    def healthy(self, now: float, gc_s: float) -> float:
        """Note where the accounts stand while all is well; the part of the time since then that was waited."""
        at, ran, throttled, _ = self._base
        self._base = (now, self.books.ran_and_waited(), self.books.throttled(), gc_s)
        _, ran_now, throttled_now, _ = self._base
        waited = ran_now[1] - ran[1] if ran_now is not None and ran is not None else 0.0
        return (waited + throttled_now - throttled) / max(0.01, now - at)

    def suspect(self, start: float) -> None:
        """A beat is late since ``start``: from now on it counts what a hypervisor takes. To read that is not cheap."""
        if self._stolen[0] != start:
            processor = self.books.processor()
            self._stolen = (start, processor, self.books.stolen(processor))

    def begin(self, start: float, cpu_at_start: float) -> None:
        """A stall began at ``start``; ``cpu_at_start`` is the loop thread's CPU time at its last tick."""
        self.suspect(start)
        _, ran, throttled, gc_s = self._base
        waited = ran[1] if ran is not None else 0.0
        self._start, self._gc = start, gc_s
        self._spent = [0.0] * 6
        self._queueing = 0.0
        self._last = (start, cpu_at_start, waited, throttled)
        self._switches = (start, -1)
        self._state = "R"

    def step(self, now: float, overslept_s: float = 0.0) -> None:
        """Account for the interval since the last step. ``overslept_s`` is how much longer than asked the
        observer itself was away without waiting for a processor: then everything was frozen."""
        at, cpu, waited, throttled = self._last
        books = self.books
        ran = books.ran_and_waited()
        state, where = books.state(), books.waits_in()
        wall = max(0.0, now - at)
        if ran is None:
            self._spent[5] += wall
            self._last = (now, cpu, waited, throttled)
            return
        quota = books.throttled()
        d_cpu, d_wait = max(0.0, ran[0] - cpu), max(0.0, ran[1] - waited)
        # The books show a wait for a processor only once it is over: until then it is known by what is missing.
        rest = max(0.0, wall + self._queueing - d_cpu - d_wait)
        still = state == "R" and not d_cpu and not d_wait
        self._queueing = 0.0
        wants_to_run = state == "R" or (self._state == "R" and not where)
        if wants_to_run:
            held_back = min(max(0.0, quota - throttled), rest + d_wait)
            # What was waited for a processor is counted there; here only what the books leave open.
            self._spent[4] += min(held_back, rest)
            rest -= min(held_back, rest)
        # Who sleeps in a call sleeps through a short freeze of the machine as well.
        would_notice = state in ("R", "T", "t") or where.startswith(_POLLS) or overslept_s >= FREEZE_S
        frozen = min(rest, overslept_s) if would_notice else 0.0
        self._spent[3] += frozen
        rest -= frozen
        if state in "tT" and state:
            self._spent[3] += rest
        elif state == "R" and (still or not self._slept(now)):
            self._queueing = rest
        elif "futex" in where or where in ("", "0"):
            # Awake at this instant, or in a futex: who waits for the GIL is now the one, now the other.
            again = self._asks_again(now)
            self._spent[2 if again else 1 if "futex" in where else 0] += rest
        elif where.startswith(_POLLS) and self._state == "T":
            self._spent[3] += rest
        else:
            self._spent[0] += rest
        self._state = state
        self._last = (now, ran[0], ran[1], quota)

    def _slept(self, now: float) -> bool:
        """True when the thread has gone to sleep of its own accord since its switches were last counted."""
        before, count = self._switches[1], self.books.switches()
        if before < 0:
            self._switches = (now, count)
        return before >= 0 and count != before

    def _asks_again(self, now: float) -> bool:
        since, before = self._switches
        count = self.books.switches()
        self._switches = (now, count)
        return before >= 0 and now > since and (count - before) / (now - since) >= GIL_SWITCHES_PER_S

    def breakdown(self, end: float, cpu_at_start: float, gc_now: float) -> dict[str, float | None]:
        """The seconds of each cause from the start to ``end``, never more together than the wall time."""
        wall = max(0.0, end - self._start)
        _, cpu, waited, quota = self._last
        base_wait = self._base[1][1] if self._base[1] is not None else waited
        run_queue = max(0.0, waited - base_wait) + self._queueing
        throttled = self._spent[4]
        # Older kernels book throttled time as waiting for a processor.
        moved = min(run_queue, max(0.0, quota - self._base[2] - throttled))
        kept_asleep = self._kept_asleep()
        parts = {
            "suspended_s": self._spent[3],
            "throttled_s": throttled + moved,
            "run_queue_s": run_queue - moved + kept_asleep,
            "cpu_s": max(0.0, cpu - cpu_at_start),
            "lock_s": self._spent[1],
            "gil_s": self._spent[2],
            "syscall_s": self._spent[0] - kept_asleep,
        }
        left = wall
        shown: dict[str, float | None] = {}
        for name, value in parts.items():
            given = min(value, left)
            shown[name] = round(given, 6)
            left -= given
        shown["gc_s"] = round(min(max(0.0, gc_now - self._gc), wall), 6)
        return shown

    def _kept_asleep(self) -> float:
        """The part of a sleep for which its processor could not wake the thread, a hypervisor running others on it.

        What is taken in the middle of a sleep makes it no longer; where it is most of the sleep, it was at its end.
        """
        _, processor, before = self._stolen
        slept = self._spent[0]
        taken = self.books.stolen(processor) - before if slept else 0.0
        return min(taken, slept) if taken >= slept / 2 else 0.0


def blame(
    duration_s: float, cause: dict[str, float | None], threshold_s: float, over: bool = True, seen: bool = True
) -> str:
    """``code`` where enough of the stall is left once all that the environment took is gone.

    ``over`` is False while the stall lasts: then it is judged by what took most so far. ``seen`` is False where no
    code was seen at work: a loop that only waits for its next event is late by its waking up, not by that wait.
    """
    taken = sum(cause.get(name) or 0.0 for name in ("run_queue_s", "throttled_s", "suspended_s"))
    if not seen:
        worked = sum(cause.get(name) or 0.0 for name in ("cpu_s", "gil_s", "lock_s"))
        return "code" if worked >= threshold_s and taken < duration_s / 2 else "environment"
    collected = cause.get("gc_s") or 0.0
    if collected < threshold_s <= duration_s - taken < threshold_s + collected:
        return "environment"  # a collection and what ran beside it: neither would have been a stall
    if over:
        return "code" if duration_s - taken >= threshold_s else "environment"
    # A stall just seen has lasted hardly longer than the threshold: any wait at all would acquit the code.
    return "code" if taken < max(duration_s - threshold_s, duration_s / 2) else "environment"


def cgroup_stat(pid: int) -> tuple[str, bool]:
    """The path of the cgroup's ``cpu.stat``, and whether it is of version 1; empty where there is none."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as f:
            lines = [line.rstrip("\n").split(":", 2) for line in f]
    except OSError:
        return "", False
    candidates: list[tuple[str, bool]] = []
    for number, controllers, path in (line for line in lines if len(line) == 3):
        if "cpu" in controllers.split(","):
            for mount in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"):
                candidates += [(f"{mount}{path}/cpu.stat", True), (f"{mount}/cpu.stat", True)]
        elif number == "0" and not controllers:
            candidates += [(f"/sys/fs/cgroup{path}/cpu.stat", False), ("/sys/fs/cgroup/cpu.stat", False)]
    for path, v1 in candidates:
        key = "throttled_time" if v1 else "throttled_usec"
        try:
            with open(path, encoding="ascii", errors="replace") as f:
                if key in f.read():
                    return path, v1
        except OSError:
            continue
    return "", False


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1
    except OSError:
        return -1


def _read(fd: int, size: int) -> bytes:
    if fd < 0:
        return b""
    try:
        return os.pread(fd, size, 0)
    except OSError:
        return b""


def start_ticks(pid: int) -> int:
    """When the process started, in the kernel's ticks since boot: with the pid, its identity; 0 if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            text = f.read()
        return int(text[text.rfind(b")") + 2 :].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def own_wait_s() -> float:
    """Seconds the observer itself has waited for a processor."""
    try:
        with open("/proc/self/schedstat", "rb") as f:
            return int(f.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
