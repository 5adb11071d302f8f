"""Asks a container how it is, as the kubelet's prober does: over HTTP, TCP, gRPC or by a command."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from unstall.kubelet.probe_exec import ask_exec
from unstall.kubelet.probe_http import ask_http
from unstall.kubelet.wire import Abort, Aborted, Limits, TimedOut, WireError, dial, join_host_port
from unstall.kubelet.wishes import Outcome
from unstall.kubelet.wording import quote
from unstall.kubelet.words import probe_events
from unstall.model import Exec, Grpc, Handler, HttpGet, ProbeType, TcpSocket

TRIES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """The container as a prober sees it.

    ``ports`` are its named ports; ``env`` its own variables (``$(NAME)`` in a command means these); ``environment``
    the rest of a command's environment (None: this process's) and ``directory`` where it runs;
    ``kubelet_env`` the prober's own environment, of which only ``DISABLE_HTTP2`` means anything.
    """

    pod_ip: str = "127.0.0.1"
    ports: tuple[tuple[str, int], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    directory: str | None = None
    kubelet_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """How a probe went. ``result`` is what the prober said; with an ``error`` it is thrown away."""

    result: Outcome
    output: str = ""
    error: str | None = None
    tries: int = 1

    @property
    def outcome(self) -> Outcome:
        """What the machine is told: ``error`` where the prober itself failed."""
        return self.result if self.error is None else Outcome.ERROR

    @property
    def counts_as(self) -> str:
        """What a worker makes of it: ``success``, ``failure`` or ``discarded``."""
        if self.error is not None:
            return "discarded"
        return "success" if self.result in (Outcome.SUCCESS, Outcome.WARNING) else "failure"

    def event(self, type: ProbeType) -> tuple[str, str] | None:
        """Reason and message of the pod's event, None where the kubelet records none."""
        text = self.output if self.error is None else self.error
        told = probe_events(0.0, type, self.outcome, text, str(self.result))
        return (told[0].reason, told[0].message) if told else None


def probe(handler: Handler, timeout_s: float, target: Target, abort: Abort | None = None) -> ProbeAnswer:
    """Ask up to three times, as the kubelet does while the prober itself fails."""
    for tries in range(1, TRIES + 1):  # noqa: B007
        answer = probe_once(handler, timeout_s, target, abort)
        if answer.error is None or (abort is not None and abort.is_set()):
            break
    return replace(answer, tries=tries)


def probe_once(handler: Handler, timeout_s: float, target: Target, abort: Abort | None = None) -> ProbeAnswer:
    """One try. Never raises for what the container or the network does; an aborted probe is a prober's error."""
    try:
        return ProbeAnswer(*ask(handler, timeout_s, target, abort))
    except Aborted as error:
        return ProbeAnswer(Outcome.UNKNOWN, error=error.message)


def ask(handler: Handler, timeout_s: float, target: Target, abort: Abort | None) -> tuple[Outcome, str, str | None]:
    """Result, output and the prober's own error of one try. Raises `Aborted`."""
    if isinstance(handler, Exec):
        return ask_exec(handler.command, timeout_s, target.env, target.environment, target.directory, abort)
    limits = Limits(time.monotonic() + timeout_s, abort)
    if isinstance(handler, Grpc):
        from unstall.kubelet.probe_grpc import ask_grpc

        return ask_grpc(handler, timeout_s, target.pod_ip, limits)
    try:
        port = container_port(handler.port, target.ports)
    except ValueError as error:
        return Outcome.UNKNOWN, "", str(error)
    if isinstance(handler, HttpGet):
        return ask_http(handler, port, target.pod_ip, limits, http2_allowed(target.kubelet_env))
    return ask_tcp(handler, port, target.pod_ip, limits)


def http2_allowed(kubelet_env: Mapping[str, str]) -> bool:
    """The kubelet offers HTTP/2 unless its environment says otherwise."""
    return not kubelet_env.get("DISABLE_HTTP2") and "http2client=0" not in kubelet_env.get("GODEBUG", "")


def ask_tcp(socket: TcpSocket, port: int, pod_ip: str, limits: Limits) -> tuple[Outcome, str, str | None]:
    """Connect and close: the kernel answers for a blocked event loop."""
    host = socket.host or pod_ip
    try:
        with dial(host, port, limits):
            return Outcome.SUCCESS, "", None
    except TimedOut:
        return Outcome.FAILURE, f"dial tcp {join_host_port(host, port)}: i/o timeout", None
    except WireError as error:
        return Outcome.FAILURE, error.message, None


def container_port(port: int | str, ports: tuple[tuple[str, int], ...]) -> int:
    """The number behind a port or its name. Raises ValueError in the kubelet's words."""
    if isinstance(port, str):
        named = dict(reversed(ports)).get(port)
        if named is None:
            # "Last ditch effort", as the kubelet has it: a number written as text.
            if not re.fullmatch(r"[+-]?\d+", port, re.ASCII):
                raise ValueError(f"strconv.Atoi: parsing {quote(port)}: invalid syntax")
            named = int(port)
        port = named
    if not 0 < port < 65536:
        raise ValueError(f"invalid port number: {port}")
    return port
