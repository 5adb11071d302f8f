"""The kubelet's own words for what it did."""

from __future__ import annotations

from unstall.kubelet.back_off import go_duration
from unstall.kubelet.spec import PodSpec
from unstall.kubelet.wishes import Outcome, Waiting
from unstall.model import PodEvent, ProbeType

_PROBE = {
    (type, outcome): (reason, f"{type.value.capitalize()} probe {said}")
    for type in ProbeType
    for outcome, reason, said in (
        (Outcome.FAILURE, "Unhealthy", "failed: "),
        (Outcome.WARNING, "ProbeWarning", "warning: "),
        (Outcome.ERROR, "Unhealthy", "errored and resulted in {state} state: "),
    )
}
"""Reason and text; a success leaves no event, nor does an unknown outcome without an error."""


def probe_events(now: float, type: ProbeType, outcome: Outcome, output: str, state: str) -> list[PodEvent]:
    """The event a probe leaves, if any, also below its threshold."""
    said = _PROBE.get((type, outcome))
    if said is None:
        return []
    reason, text = said
    if outcome is Outcome.ERROR:
        text = text.format(state=state)
    return [PodEvent(now, reason, text + output, "Warning")]


def start_events(now: float) -> list[PodEvent]:
    """The events of a container that starts."""
    return [PodEvent(now, "Created", "Container created"), PodEvent(now, "Started", "Container started")]


def stopping(spec: PodSpec) -> str:
    """The text of a kill that no probe asked for."""
    return f"Stopping container {spec.container}"


def back_off_event(now: float, spec: PodSpec) -> PodEvent:
    """The event of a refused restart."""
    text = f"Back-off restarting failed container {spec.container} in pod {_pod(spec)}"
    return PodEvent(now, "BackOff", text, "Warning")


def waiting(spec: PodSpec, back_off_s: float, until: float) -> Waiting:
    """The status of a container whose restart was refused."""
    text = f"back-off {go_duration(back_off_s)} restarting failed container={spec.container} pod={_pod(spec)}"
    return Waiting(text, back_off_s, until)


def _pod(spec: PodSpec) -> str:
    return f"{spec.pod}_{spec.namespace}({spec.uid})"
