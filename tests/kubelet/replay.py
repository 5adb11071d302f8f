"""Plays a trace of a real kubelet again: the machine predicts, the trace judges.

Taken from the trace: the spec, the tick phases, when containers started, and how the app behaved (when its port
opened, when its loop was blocked, how long it took to leave after SIGTERM, what an exec probe returned). Predicted:
every probe's start and result, every kill with its grace, SIGKILL, exit code, and when a restart may come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from unstall.kubelet.delays import EXACT
from unstall.kubelet.machine import Pod
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import Kill, Outcome, StartContainer, StartProbe, Waiting, Wish
from unstall.model import Exec, Grpc, Handler, HttpGet, PodEvent, ProbeSpec, ProbeType, TcpSocket

ACTION_S = 0.15
START_S = 0.6
RELIST_S = 1.0
LINGER_S = 0.045
"""A timed-out HTTP probe ends this much after its timeout."""
ANSWER_S = 0.004
QUEUE_S = 0.05
"""Requests that queued run on before a probe that came later is read: a gap as short as this is none."""
RETURN_S = 0.03
"""An exit until the kill that waited for it goes on."""
PORT = 8000


@dataclass
class Predicted:
    """What the machine says happened."""

    probes: list[tuple[float, str, str]] = field(default_factory=list)
    kills: list[tuple[float, str]] = field(default_factory=list)
    stops: list[tuple[float, int]] = field(default_factory=list)
    """When the runtime is told to stop the container, after preStop, and the grace it is told."""
    exits: list[tuple[float, int]] = field(default_factory=list)
    sigkills: list[float] = field(default_factory=list)
    starts: list[tuple[float, float]] = field(default_factory=list)
    """Earliest and latest time of every restart."""
    waits: list[str] = field(default_factory=list)


def handler(probe: dict[str, Any]) -> Handler:
    if "httpGet" in probe:
        return HttpGet(probe["httpGet"]["port"], probe["httpGet"].get("path", "/"))
    if "tcpSocket" in probe:
        return TcpSocket(probe["tcpSocket"]["port"])
    return Exec(tuple(probe["exec"]["command"])) if "exec" in probe else Grpc(probe["grpc"]["port"])


def pod_spec(spec: dict[str, Any]) -> PodSpec:
    container = spec["container"]
    probes = []
    for type in ProbeType:
        probe = container.get(f"{type}Probe")
        if probe is not None:
            probes.append(
                ProbeSpec(
                    type,
                    handler(probe),
                    probe.get("periodSeconds", 10),
                    probe.get("timeoutSeconds", 1),
                    probe.get("failureThreshold", 3),
                    probe.get("successThreshold", 1),
                    probe.get("initialDelaySeconds", 0),
                    probe.get("terminationGracePeriodSeconds"),
                )
            )
    hook = container.get("lifecycle", {}).get("preStop")
    prestop: Handler | int | None = None
    if hook is not None:
        prestop = hook["sleep"]["seconds"] if "sleep" in hook else Exec(tuple(hook.get("exec", {}).get("command", ())))
    return PodSpec(
        pod="{pod}",
        uid="{uid}",
        probes=tuple(probes),
        restart_policy=spec["restartPolicy"],
        grace_s=spec["terminationGracePeriodSeconds"],
        prestop=prestop,
        container_restart_policy=container.get("restartPolicy"),
    )


class Replay:
    """One trace. `play` gives what the machine predicts for it."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self.trace = trace
        self.spec = pod_spec(trace["spec"])
        self.real_starts = [e["t"] for e in trace["events"] if e["reason"] == "Started"]
        self.real_exits = {a["instance"]: a["t"] for a in trace["actions"] if a["kind"] == "exit"}
        self.out = Predicted()
        self.pod = Pod(self.spec, random=lambda: 0.0, kubelet=EXACT, clock_offset=self._offset())
        self.queue: list[tuple[float, int, str, Any]] = []
        self.instance = -1
        self.alive = False
        self.killed = False
        self.opened = self._opened()
        self.blocks = self._blocks()
        self.removed_at = trace["manifest_removed_at"] or math.inf
        self.waited = 0.0

    def _offset(self) -> float:
        """The wall clock's fraction at 0, which the trace does not say: one with which every delay fits."""
        firsts: list[tuple[float, float, ProbeSpec]] = []
        ends = [*self.real_starts[1:], math.inf]
        for probe in self.spec.probes:
            for start, end in zip(self.real_starts, ends, strict=True):
                times = [p["t_start"] for p in self.trace["probes"] if p["type"] == probe.type]
                first = next((t for t in times if start <= t < end), None)
                if first is not None and probe.initial_delay_s:
                    firsts.append((start, first, probe))
        fitting: list[float] = []
        for hundredth in range(100):
            offset = hundredth / 100
            if all(
                first - (math.floor(start + offset) - offset) >= probe.initial_delay_s
                and (
                    first - probe.period_s < start
                    or first - probe.period_s - (math.floor(start + offset) - offset) < probe.initial_delay_s
                )
                for start, first, probe in firsts
            ):
                fitting.append(offset)
        return fitting[len(fitting) // 2] if fitting else 0.0

    def _opened(self) -> dict[int, float]:
        marks = ("Uvicorn running", "Started parent process")
        opened: dict[int, float] = {}
        for line in self.trace["app_log"]:
            if any(mark in line["line"] for mark in marks):
                opened.setdefault(line["instance"], line["t"])
        return opened

    def _blocks(self) -> list[tuple[int, float, float]]:
        """(instance, from, to) for every time in which no worker of the app could answer."""
        app = self.trace["app"]
        found: list[tuple[int, float, float]] = []
        if app.get("health_blocks_after_s"):
            found += [(i, start + app["health_blocks_after_s"], math.inf) for i, start in enumerate(self.real_starts)]
        if "async def" not in app["mode"] or "time.sleep" not in app["mode"]:
            return found
        words = app["launch"].split()
        workers = int(words[words.index("--workers") + 1]) if "--workers" in words else 1
        for instance in range(len(self.real_starts)):
            busy, since = 0, math.inf
            for line in self.trace["app_log"]:
                if line["instance"] != instance or not line["line"].startswith(("HELLO begin", "HELLO end")):
                    continue
                busy += 1 if line["line"].startswith("HELLO begin") else -1
                if busy == workers and since == math.inf:
                    since = line["t"]
                elif busy < workers and since < math.inf:
                    found.append((instance, since, line["t"]))
                    since = math.inf
            if since < math.inf:
                found.append((instance, since, math.inf))
        return found

    def play(self) -> Predicted:
        until = min(self.trace["duration_s"], self.removed_at) + 120.0
        self._add()
        self._plan(self.removed_at, "remove")
        if self.real_starts:
            self._plan(self.real_starts[0], "start")
        while True:
            wake = self.pod.next_wake
            if self.queue and self.queue[0][0] <= wake:
                t, _, what, data = self.queue.pop(0)
                if t > until:
                    break
                getattr(self, what)(t, data)
            elif wake < until:
                self._obey(self.pod.wake(wake), wake)
            else:
                break
        return self.out

    def _add(self) -> None:
        """The tick phase: the pod was added whole periods before the first probe that a ticker started."""
        for probe in self.spec.probes:
            first = next((p["t_start"] for p in self.trace["probes"] if p["type"] == probe.type), None)
            if probe.type is not ProbeType.READINESS and first is not None:
                added_at = first - probe.period_s * math.ceil((first + 0.05) / probe.period_s)
                break
        else:
            added_at = -0.3
        self._obey(self.pod.pod_added(added_at), added_at)

    def _plan(self, t: float, what: str, data: Any = None) -> None:
        self.queue.append((t, len(self.queue), what, data))
        self.queue.sort(key=lambda entry: entry[:2])

    def start(self, t: float, _: None) -> None:
        self.instance += 1
        self.alive, self.killed = True, False
        self._obey(self.pod.container_started(t), t)
        readiness = self.pod.workers.readiness
        if readiness is not None and readiness.triggered:
            # The ticker's phase is the second sync's, which comes up to half a second later.
            readiness.triggered = False
            real = [p["t_start"] for p in self.trace["probes"] if p["type"] == "readiness" and p["t_start"] > t + 0.02]
            if real:
                self._plan(real[0], "trigger")
        exit_at = self.real_exits.get(self.instance)
        if exit_at is not None and not self._killed_in_trace(t, exit_at):
            self._plan(exit_at, "crash")

    def _killed_in_trace(self, since: float, until: float) -> bool:
        return any(a["kind"] == "kill_call" and since <= a["t"] <= until for a in self.trace["actions"])

    def trigger(self, t: float, _: None) -> None:
        if self.pod.workers.readiness is not None and not self.killed:
            self.pod.workers.readiness.triggered = True
            self._obey(self.pod.wake(t), t)

    def crash(self, t: float, _: None) -> None:
        codes = [a["exit_code"] for a in self.trace["actions"] if a["kind"] == "exit" and a["t"] == t]
        self._exit(t, codes[0])

    def end(self, t: float, code: int) -> None:
        self._exit(t, code)

    def _exit(self, t: float, code: int) -> None:
        self.alive = False
        self.out.exits.append((t, code))
        self._obey(self.pod.container_exited(code, t + RETURN_S, finished_at=t), t + RETURN_S)

    def remove(self, t: float, _: None) -> None:
        self._obey(self.pod.pod_deleted(t), t)

    def answer(self, t: float, data: tuple[ProbeType, Outcome]) -> None:
        self._obey(self.pod.probe_ended(data[0], data[1], t), t)

    def _obey(self, wishes: list[Wish], t: float) -> None:
        for wish in wishes:
            match wish:
                case StartProbe(type, probe):
                    outcome, ended_at = self._answer(probe, t)
                    self.out.probes.append((t, str(type), "success" if outcome is Outcome.SUCCESS else "failure"))
                    self._plan(ended_at, "answer", (type, outcome))
                case Kill():
                    self._kill(wish, t)
                case PodEvent(_, "Killing", message):
                    self.out.kills.append((t, message))
                case Waiting(message, back_off_s, _):
                    if message not in self.out.waits:
                        self.out.waits.append(message)
                    self.waited = back_off_s
                case StartContainer():
                    self._restart(t)
                case _:
                    pass

    def _restart(self, t: float) -> None:
        if self.instance < 0:
            return
        stretch_s = min(self.waited, 60.0) / 2 + RELIST_S if self.waited else 0.0
        self.out.starts.append((t, t + stretch_s + RELIST_S))
        self.waited = 0.0
        later = [start for start in self.real_starts if start > t - ACTION_S]
        if len(self.real_starts) > self.instance + 1 and later:
            self._plan(max(t, self.real_starts[self.instance + 1]), "start")

    def _answer(self, probe: ProbeSpec, t: float) -> tuple[Outcome, float]:
        match probe.handler:
            case Grpc():
                return Outcome.FAILURE, t + probe.timeout_s + 0.001
            case Exec():
                real = min(self.trace["probes"], key=lambda p: abs(p["t_start"] - t))
                outcome = Outcome.SUCCESS if real["result"] == "success" else Outcome.FAILURE
                return outcome, t + real["t_end"] - real["t_start"]
            case HttpGet(port) | TcpSocket(port):
                opened = self.opened.get(self.instance, math.inf)
                if not self.alive or (isinstance(port, int) and port != PORT) or t < opened - 0.02:
                    return Outcome.FAILURE, t + 0.001
                if isinstance(probe.handler, TcpSocket):
                    return Outcome.SUCCESS, t + 0.001
        free_at = t + ANSWER_S
        for instance, start, end in self.blocks:
            if instance == self.instance and start < free_at + QUEUE_S and end > t:
                free_at = max(free_at, end + ANSWER_S)
        if free_at - t >= probe.timeout_s:
            return Outcome.FAILURE, t + probe.timeout_s + LINGER_S
        return Outcome.SUCCESS, free_at

    def _kill(self, wish: Kill, t: float) -> None:
        self.killed = True
        took_s = None
        if isinstance(wish.prestop, Exec):
            took_s = self._hook_takes(wish.prestop.command, t)
        times = wish.times(took_s)
        self.out.stops.append((t + times.sigterm_after_s, times.stop_timeout_s))
        sigkill_at = t + times.sigkill_after_s
        leaves_at = self._leaves(t + times.sigterm_after_s)
        if leaves_at < sigkill_at:
            self._plan(max(leaves_at, t), "end", 0)
        else:
            self.out.sigkills.append(sigkill_at)
            seen = self.real_exits.get(self.instance, sigkill_at)
            near = abs(seen - sigkill_at) < START_S  # the runtime takes a moment to reap it
            self._plan(seen if near else sigkill_at, "end", 137)

    def _hook_takes(self, command: tuple[str, ...], t: float) -> float:
        """As long as the sleep says; another hook as long as it took in the trace."""
        if command and command[-1].replace(".", "").isdigit():
            return float(command[-1])
        stops = [a["t"] for a in self.trace["actions"] if a["kind"] == "kill_call" and a["t"] >= t - ACTION_S]
        return max(0.0, stops[0] - t) if stops else 0.0

    def _leaves(self, asked_at: float) -> float:
        """When the process goes after SIGTERM by itself: never where nothing handles the signal in time."""
        app = self.trace["app"]
        codes = {a["instance"]: a["exit_code"] for a in self.trace["actions"] if a["kind"] == "exit"}
        told = self.real_exits.get(self.instance, asked_at + 0.3)
        plain = app["launch"].startswith("uvicorn (PID 1)") and not app.get("health_blocks_after_s")
        elsewhere = any(isinstance(p.handler, HttpGet) and p.handler.port == PORT + 1 for p in self.spec.probes)
        if not plain or elsewhere:  # how this app takes a SIGTERM is its own business, and its log does not say
            return math.inf if codes.get(self.instance) == 137 else told
        if asked_at < self.opened.get(self.instance, math.inf) - 0.1:
            return math.inf
        held = any(i == self.instance and start < asked_at and end == math.inf for i, start, end in self.blocks)
        return math.inf if held else told


def hiccup(real: list[tuple[float, str, str]], i: int) -> bool:
    """A probe that the busy recording machine started late: its neighbours keep the ticker's phase, it does not."""
    if not 0 < i < len(real) - 1 or real[i][2] != "success":
        return False
    period_s = (real[i + 1][0] - real[i - 1][0]) / 2
    late_s = real[i][0] - real[i - 1][0] - period_s
    return abs(period_s - round(period_s)) < 0.01 and ACTION_S < late_s < period_s / 2


def compare(trace: dict[str, Any], predicted: Predicted) -> list[str]:
    """Where the prediction is off by more than the tolerances: one sentence each, none if it is right."""
    removed_at = trace["manifest_removed_at"] or math.inf
    end = min(removed_at, trace["duration_s"]) - 0.2
    wrong: list[str] = []
    real_probes = [(p["t_start"], p["type"], p["result"]) for p in trace["probes"] if p["t_start"] < end]
    for type in ("startup", "readiness", "liveness"):
        real = [p for p in real_probes if p[1] == type]
        ours = [p for p in predicted.probes if p[1] == type and p[0] < end + ACTION_S]
        if len(ours) > len(real) and ours[len(real)][0] >= end - ACTION_S:
            ours = ours[: len(real)]
        if len(real) != len(ours):
            wrong.append(f"{len(ours)} {type} probes predicted, {len(real)} seen")
        for i, (mine, seen) in enumerate(zip(ours, real, strict=False)):
            if hiccup(real, i):
                continue
            if abs(mine[0] - seen[0]) > ACTION_S or mine[2] != seen[2]:
                wrong.append(f"{type} probe {mine[2]} at {mine[0]:.2f} s predicted, {seen[2]} at {seen[0]:.2f} s seen")
                break
    killing = [(e["t"], e["message"]) for e in trace["events"] if e["reason"] == "Killing"]
    if len(killing) != len(predicted.kills):
        wrong.append(f"{len(predicted.kills)} kills predicted, {len(killing)} seen")
    for (
        (at, message),
        (mine_at, mine),
    ) in zip(killing, predicted.kills, strict=False):
        if abs(at - mine_at) > ACTION_S + (START_S if at > end else 0) or message != mine:
            wrong.append(f"kill at {mine_at:.2f} s ({mine}) predicted, at {at:.2f} s ({message}) seen")
    stops = [(a["t"], a["grace_s"]) for a in trace["actions"] if a["kind"] == "kill_call"]
    for (at, grace_s), (mine_at, mine_s) in zip(stops, predicted.stops, strict=False):
        if abs(at - mine_at) > ACTION_S + (START_S if at > end else 0) or mine_s != grace_s:
            wrong.append(f"stop with {mine_s} s at {mine_at:.2f} s predicted, with {grace_s} s at {at:.2f} s seen")
    if len(stops) != len(predicted.stops):
        wrong.append(f"{len(predicted.stops)} stops predicted, {len(stops)} seen")
    exits = [(a["t"], a["exit_code"]) for a in trace["actions"] if a["kind"] == "exit"]
    for (at, code), (mine_at, mine_code) in zip(exits, predicted.exits, strict=False):
        if abs(at - mine_at) > ACTION_S or (code == 137) is not (mine_code == 137):
            wrong.append(f"exit {mine_code} at {mine_at:.2f} s predicted, {code} at {at:.2f} s seen")
    if len(predicted.exits) < len(exits):
        wrong.append(f"{len(predicted.exits)} exits predicted, {len(exits)} seen")
    sigkills = [a["t"] for a in trace["actions"] if a["kind"] == "sigkill"]
    for at, mine_at in zip(sigkills, predicted.sigkills, strict=False):
        if abs(at - mine_at) > ACTION_S:
            wrong.append(f"SIGKILL at {mine_at:.2f} s predicted, at {at:.2f} s seen")
    if len(sigkills) > len(predicted.sigkills):
        wrong.append(f"{len(predicted.sigkills)} SIGKILLs predicted, {len(sigkills)} seen")
    starts = [e["t"] for e in trace["events"] if e["reason"] == "Started"][1:]
    for at, (earliest, latest) in zip(starts, predicted.starts, strict=False):
        if not earliest - ACTION_S <= at <= latest + START_S:
            wrong.append(f"restart in {earliest:.2f} to {latest:.2f} s predicted, at {at:.2f} s seen")
    if len(starts) != len(predicted.starts[: len(starts)]):
        wrong.append(f"{len(predicted.starts)} restarts predicted, {len(starts)} seen")
    if trace["summary"]["backoff_messages"] != predicted.waits:
        wrong.append(f"{len(predicted.waits)} back-off texts predicted, {trace['summary']['backoff_messages']} seen")
    return wrong
