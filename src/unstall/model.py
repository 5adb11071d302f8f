"""The nouns that cross a floor: frozen data, no behaviour beyond what follows from their own fields.

All times named ``*_at`` inside a trial are seconds since the trial began, on one monotonic clock;
all durations are in seconds and end in ``_s``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

# --- source ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """A place in source. ``qualname`` is the function, dotted where known. Lines and columns count from 1."""

    path: str
    line: int
    column: int = 1
    qualname: str = ""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where the framework calls in: ``kind`` is endpoint, dependency, middleware, lifespan, background,
    websocket, exception-handler, task, callback or coroutine; ``label`` is what a person calls it, as
    ``POST /invoices``."""

    kind: str
    label: str
    site: Site


@dataclass(frozen=True, slots=True)
class Primitive:
    """One catalogue row: a call that blocks, why, for how long and what to use instead.

    ``duration`` is ``U`` (unbounded: a peer decides), ``L`` (10 ms to seconds by design), ``S`` (one local
    system call) or ``0`` (cheap: must not be reported). ``releases_gil`` is None where nobody measured it.
    """

    name: str
    rule: str
    why: str
    duration: str
    releases_gil: bool | None = None
    remedy: str = ""
    transform: str = ""
    """``await`` (one for one), ``thread``, ``async-library``, ``process``, ``hoist`` or ``redesign``."""


@dataclass(frozen=True, slots=True)
class Step:
    """One hop of a chain. ``how`` is call, await, depends, decorator, callback, iterate, with or property;
    ``confidence`` is resolved, inferred or name."""

    site: Site
    callee: str
    how: str = "call"
    confidence: str = "resolved"


@dataclass(frozen=True, slots=True)
class CallChain:
    """From an entrance to a primitive: first step the call in the coroutine, last the primitive."""

    entrance: Entrance
    steps: tuple[Step, ...]
    primitive: Primitive


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace characters ``start`` to ``end`` (offsets into the decoded text) of ``path`` by ``text``."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A primitive call site that is reachable from the event loop.

    ``severity`` is error, warning or note. ``key`` has no line numbers, so it survives edits elsewhere.
    """

    rule: str
    severity: str
    site: Site
    primitive: Primitive
    chains: tuple[CallChain, ...]
    key: str
    fix: str | None = None


# --- stalls ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cause:
    """Where a stall's wall time went, in seconds; None where it could not be measured."""

    cpu_s: float | None = None
    syscall_s: float | None = None
    lock_s: float | None = None
    gil_s: float | None = None
    gc_s: float | None = None
    run_queue_s: float | None = None
    throttled_s: float | None = None
    suspended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a sampled stack; ``own`` is true where the file belongs to the application."""

    path: str
    line: int
    function: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """The event loop stopped. ``site`` is the first line of the application's own code on the stack
    (innermost), ``stack`` the frames innermost first, ``ended`` False when the process was killed in it."""

    started_at: float
    duration_s: float
    ended: bool = True
    site: Site | None = None
    stack: tuple[Frame, ...] = ()
    route: str | None = None
    route_proof: str | None = None
    in_flight: tuple[str, ...] = ()
    rule: str | None = None
    blame: str = "code"
    cause: Cause | None = None
    source: tuple[str, ...] = ()
    """Lines around the guilty one, as they read when the trial ran; ``source_line`` numbers the first."""
    source_line: int = 0
    worker: int = 0


# --- the pod ---------------------------------------------------------------------------------------


class ProbeType(StrEnum):
    """Kubernetes' three probes, in the order the kubelet creates their workers."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


@dataclass(frozen=True, slots=True)
class HttpGet:
    """An ``httpGet`` handler. ``port`` is a number or the name of a container port."""

    port: int | str
    path: str = "/"
    scheme: str = "HTTP"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A ``tcpSocket`` handler."""

    port: int | str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Exec:
    """An ``exec`` handler: run in the container, no shell."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grpc:
    """A ``grpc`` handler: ``grpc.health.v1.Health/Check``."""

    port: int
    service: str = ""


Handler = HttpGet | TcpSocket | Exec | Grpc


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe of a container, after Kubernetes' defaults. Whole seconds, as Kubernetes has them."""

    type: ProbeType
    handler: Handler
    period_s: int = 10
    timeout_s: int = 1
    failure_threshold: int = 3
    success_threshold: int = 1
    initial_delay_s: int = 0
    grace_s: int | None = None
    """The probe's own ``terminationGracePeriodSeconds``; None means the pod's."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the container did for a while: starting, running, terminating (SIGTERM sent), waiting (back-off).
    ``instance`` counts container starts from 0."""

    kind: str
    from_s: float
    to_s: float
    instance: int = 0


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """One probe as sent: ``outcome`` is success, warning, failure, or error (a prober error: discarded)."""

    type: ProbeType
    started_at: float
    ended_at: float
    outcome: str
    output: str = ""
    run: int = 0
    """How many probes in a row had this result, this one included."""
    instance: int = 0


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An event in Kubernetes' own words. ``source`` is kubelet or container; ``type`` Normal or Warning."""

    at: float
    reason: str
    message: str
    type: str = "Normal"
    source: str = "kubelet"


@dataclass(frozen=True, slots=True)
class Request:
    """One client request, by the client's own clock. ``due_at`` is when the open loop wanted it sent;
    ``answered_at`` when the answer was complete or the failure known; ``status`` is None on failure."""

    route: str
    due_at: float
    sent_at: float
    answered_at: float
    status: int | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """True when no answer came or its status was 500 or above."""
        return self.status is None or self.status >= 500


@dataclass(frozen=True, slots=True)
class PodTimeline:
    """All that happened to one pod in one trial."""

    duration_s: float
    phases: tuple[Phase, ...] = ()
    probes: tuple[ProbeRecord, ...] = ()
    stalls: tuple[Stall, ...] = ()
    requests: tuple[Request, ...] = ()
    events: tuple[PodEvent, ...] = ()
    unready: tuple[tuple[float, float], ...] = ()
    """Intervals in which the pod was not ready."""

    @property
    def restarts(self) -> int:
        """How often a new container was started after the first."""
        return max((phase.instance for phase in self.phases if phase.kind != "waiting"), default=0)

    @property
    def missed_probes(self) -> int:
        """How many readiness and liveness probes failed, below the threshold or not, once the app had been up.

        Up means that it had answered a probe or was sent its first request: what is refused while the app is still
        starting is no miss. An app that was never up missed them all.
        """
        up_at = min(
            *(p.started_at for p in self.probes if p.outcome in ("success", "warning")),
            *(request.due_at for request in self.requests),
            math.inf,
            math.inf,
        )
        failed = [p for p in self.probes if p.outcome == "failure" and p.type is not ProbeType.STARTUP]
        return sum(p.started_at >= up_at for p in failed) if up_at < math.inf else len(failed)

    @property
    def longest_stall_s(self) -> float:
        """Length of the longest stall, 0.0 where there was none."""
        return max((stall.duration_s for stall in self.stalls), default=0.0)


# --- the experiment --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its unit: ``s``, ``count``, ``of`` (needs ``total``), ``ratio`` or ``probability``.
    ``low`` and ``high`` bound the 95 % interval where there is one. ``value`` None means not measured."""

    value: float | None
    unit: str
    total: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the table of numbers: one cell per arm, and the difference where arms are compared."""

    label: str
    cells: tuple[Measure, ...]
    difference: Measure | None = None


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One line of what happened: ``18.0 s  GET /hello  blocks the loop for 3.0 s  app.py:9``."""

    at: float
    who: str
    what: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one arm. ``index`` counts from 1 within the arm."""

    arm: str
    index: int
    timeline: PodTimeline
    story: tuple[StoryLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of an experiment: ``target`` is what was run (``app.api:app``), ``about`` one sentence."""

    name: str
    target: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence that could be false, whether it held, and in how many of the trials."""

    holds: bool
    sentence: str
    held: int = 1
    of: int = 1


@dataclass(frozen=True, slots=True)
class Experiment:
    """What was asked, run and found. ``settings`` are the exact settings as label and text."""

    name: str
    title: str
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    table: tuple[TableRow, ...]
    verdict: Verdict
    probes: tuple[ProbeSpec, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    """What ``check`` had predicted for the arms' source."""
    diff: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabReport:
    """Everything one ``unstall lab`` produced: enough to print and draw it again without running anything."""

    experiments: tuple[Experiment, ...]
    version: str
    command: str
    created: str
    """UTC, ISO 8601."""
    environment: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False
    elapsed_s: float = field(default=0.0)
