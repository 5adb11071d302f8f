"""The proof of the health port: busy pods live, dead ones are restarted, under the kubelet's own rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.lab.test_experiments import run

from unstall.kubelet.manifests import pod_spec
from unstall.kubelet.spec import PodSpec
from unstall.lab import builtin, own
from unstall.lab.load import LoadPlan
from unstall.lab.serve import free_port
from unstall.lab.target import Target
from unstall.lab.trial import TrialPlan
from unstall.model import HttpGet, PodTimeline, ProbeSpec, ProbeType
from unstall.runtime.places import DEFAULT_HEALTH_PORT, LIVEZ, READYZ, STARTUPZ


@dataclass(frozen=True)
class Length:
    """How long things take: each of five blocks, the probe's period, when a loop counts as busy and as dead."""

    block_s: float
    period_s: int
    busy_after_s: float
    dead_after_s: float
    lasts_s: float


SHORT = Length(block_s=1.4, period_s=1, busy_after_s=0.7, dead_after_s=5.0, lasts_s=9.0)
FULL = Length(block_s=5.0, period_s=5, busy_after_s=2.0, dead_after_s=60.0, lasts_s=30.0)
FOR_GOOD_S = 3600.0


def plan(length: Length, observed: bool, for_good: bool = False) -> TrialPlan:
    """The lab's app A with five clients; its probes ask the app itself, or the observer's port."""
    first = builtin.plans(builtin.QUICK)["3 A"]
    assert first.load is not None
    port = free_port() if observed else first.server.port
    live, begun = (LIVEZ, STARTUPZ) if observed else ("/health", "/health")
    probes = [
        ProbeSpec(ProbeType.STARTUP, HttpGet(port, begun), 1, 1, 60),
        ProbeSpec(ProbeType.LIVENESS, HttpGet(port, live), length.period_s, 1, 3),
    ]
    environment = {"HELLO_SECONDS": str(FOR_GOOD_S if for_good else length.block_s)}
    if observed:
        probes.append(ProbeSpec(ProbeType.READINESS, HttpGet(port, READYZ), 1, 1, 1))
        environment |= {
            "UNSTALL_HEALTH_PORT": str(port),
            "UNSTALL_BUSY_AFTER": str(length.busy_after_s),
            "UNSTALL_DEAD_AFTER": str(length.dead_after_s),
        }
    return replace(
        first,
        arm=f"{'observer' if observed else 'own'} {'dead' if for_good else 'busy'}",
        server=replace(first.server, environment=tuple(environment.items())),
        pod=PodSpec(pod="shop", probes=tuple(probes), grace_s=1),
        lasts_s=length.lasts_s + (length.dead_after_s + 4 * length.period_s if for_good else 0),
        from_load=True,
    )


def proof(length: Length) -> dict[str, PodTimeline]:
    plans = [plan(length, observed, for_good) for observed in (False, True) for for_good in (False, True)]
    return {arm: trial.timeline for arm, trial in run({p.arm: p for p in plans}).items()}


def judge(found: dict[str, PodTimeline]) -> None:
    assert found["own busy"].restarts >= 1, "blocks that outlast three probes on the app's own port restart it"
    assert found["observer busy"].restarts == 0, "and do not on the observer's"
    answers = [p.outcome for p in found["observer busy"].probes if p.type is ProbeType.LIVENESS]
    assert answers.count("success") > len(answers) / 2, "for it answers while the loop is blocked"
    assert found["observer busy"].unready, "while it blocks the pod is out of service"
    assert found["own dead"].restarts >= 1
    assert found["observer dead"].restarts >= 1, "a loop that is dead for good is restarted in both"


def test_a_busy_pod_lives_and_a_dead_one_is_restarted() -> None:
    judge(proof(SHORT))


@pytest.mark.soak
def test_blocks_of_25_s_under_a_probe_every_5_s() -> None:
    judge(proof(FULL))


def test_a_full_thread_pool_takes_the_pod_out_of_service_and_is_no_stall() -> None:
    first = plan(SHORT, observed=True)
    assert first.load is not None
    threaded = replace(
        first,
        server=replace(
            first.server, target="threaded:app", environment=(*first.server.environment, ("HELLO_SECONDS", "5"))
        ),
        load=replace(first.load, burst=45),
        lasts_s=8.0,
    )
    timeline = run({"threaded": threaded})["threaded"].timeline
    assert timeline.restarts == 0
    assert sum(end - begin for begin, end in timeline.unready) > 0
    # An import at the first request may stall on a busy machine; nothing lasts as long as the threads are held.
    assert not [stall for stall in timeline.stalls if stall.duration_s > 2.5]
    assert [p for p in timeline.probes if p.type is ProbeType.READINESS and p.outcome == "failure"]


DEPLOY = Path(__file__).parents[2] / "deploy" / "health.yaml"


def test_the_manifest_in_deploy_asks_the_observer_and_only_the_observer() -> None:
    pod = pod_spec(DEPLOY, None)
    assert own.health_port(pod) == DEFAULT_HEALTH_PORT
    paths = {}
    for probe in pod.probes:
        assert isinstance(probe.handler, HttpGet)
        assert dict(pod.ports)[str(probe.handler.port)] == DEFAULT_HEALTH_PORT
        paths[probe.type] = probe.handler.path
    assert paths == {ProbeType.STARTUP: STARTUPZ, ProbeType.LIVENESS: LIVEZ, ProbeType.READINESS: READYZ}


def test_the_lab_asks_the_observer_where_the_manifest_does() -> None:
    pod = pod_spec(DEPLOY, None)
    assert {probe.handler.port for probe in own.on_port(pod, 8000, 9000) if isinstance(probe.handler, HttpGet)} == {
        9000
    }
    target = Target("blocking:app", builtin.APPS)
    question = own.Question((("app", target),), pod, LoadPlan("", ()))
    made = question.plan("app 1")
    told = dict(made.server.environment)["UNSTALL_HEALTH_PORT"]
    assert {str(probe.handler.port) for probe in made.pod.probes if isinstance(probe.handler, HttpGet)} == {told}
    assert told != str(made.server.port)
