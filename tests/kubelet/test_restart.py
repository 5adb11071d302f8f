"""What one sync kills and starts, against Kubernetes' own."""

from __future__ import annotations

from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.restarting import ContainerState, pod_actions, restarts_after_exit
from unstall.kubelet.spec import RestartRule


def rule(plain: dict[str, Any]) -> RestartRule:
    refuse_unknown(plain, ("action", "exitCodes"), "a restart rule")
    return RestartRule(plain["exitCodes"]["operator"], tuple(plain["exitCodes"]["values"]), plain["action"])


def container(spec: dict[str, Any], state: dict[str, Any]) -> ContainerState:
    refuse_unknown(spec, ("name", "restartPolicy", "restartPolicyRules"), "a container")
    refuse_unknown(state, ("state", "exit_code", "liveness", "startup"), "a state")
    return ContainerState(
        spec["name"],
        state["state"],
        state.get("exit_code", 0),
        state.get("liveness"),
        state.get("startup"),
        spec.get("restartPolicy"),
        tuple(rule(plain) for plain in spec.get("restartPolicyRules", ())),
    )


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_restart.json"))
def test_a_sync_kills_and_starts_what_the_kubelet_does(case: dict[str, Any]) -> None:
    refuse_unknown(case, ("name", "note", "restartPolicy", "containers", "states", "expect"))
    refuse_unknown(case["expect"], ("kill", "start", "kill_pod"), "expect")
    containers = [container(*pair) for pair in zip(case["containers"], case["states"], strict=True)]
    actions = pod_actions(case["restartPolicy"], containers)
    killed = [{"container": k.container, "message": k.message, "reason": str(k.reason)} for k in actions.kill]
    assert killed == case["expect"]["kill"]
    assert list(actions.start) == case["expect"]["start"]
    assert actions.kill_pod is case["expect"]["kill_pod"]


def test_a_rule_with_not_in_restarts_every_other_exit_code() -> None:
    rules = (RestartRule("NotIn", (42,)),)
    assert restarts_after_exit(1, "Never", "Never", rules)
    assert not restarts_after_exit(42, "Never", "Never", rules)
