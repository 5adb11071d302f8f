"""Defaults, validation and decoding of pod fields, against Kubernetes' own."""

from __future__ import annotations

from typing import Any

import pytest
from case_files import params, refuse_unknown

from unstall.kubelet.decoding import decode_errors, unknown_fields
from unstall.kubelet.defaulting import default_pod
from unstall.kubelet.spec import RestartRule, container_spec
from unstall.kubelet.validation import validate_pod
from unstall.model import Exec, Grpc, HttpGet, ProbeSpec, ProbeType, TcpSocket

CASE_KEYS = ("name", "note", "container", "pod_spec", "expect")


def pod_of(case: dict[str, Any]) -> dict[str, Any]:
    """The case's fields in a pod with container ``app``; an image is not what the cases are about."""
    pod: dict[str, Any] = {"containers": [{"name": "app", "image": "app:1", **case.get("container", {})}]}
    pod |= case.get("pod_spec", {})
    for kind in ("containers", "initContainers"):
        if kind in pod:
            pod[kind] = [{"image": "app:1", **container} for container in pod[kind]]
    return pod


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_validation.json"))
def test_a_pod_is_refused_for_kubernetes_reasons(case: dict[str, Any]) -> None:
    refuse_unknown(case, CASE_KEYS)
    refuse_unknown(case["expect"], ("valid", "decode_error", "errors"), "expect")
    pod = pod_of(case)
    undecodable = decode_errors(pod)
    errors = [] if undecodable else validate_pod(default_pod(pod))
    found = [{"type": e.type, "field": e.field, "detail": e.detail, "message": e.message} for e in errors]
    assert bool(undecodable) == case["expect"]["decode_error"], undecodable
    assert found == case["expect"]["errors"]
    assert (not undecodable and not errors) == case["expect"]["valid"]


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_defaults.json"))
def test_unset_fields_get_kubernetes_defaults(case: dict[str, Any]) -> None:
    refuse_unknown(case, CASE_KEYS)
    refuse_unknown(case["expect"], ("container", "pod"), "expect")
    pod = default_pod(pod_of(case))
    container = pod["containers"][0]
    given = {"name", "image"} - set(case["expect"]["container"])
    assert {name: value for name, value in container.items() if name not in given} == case["expect"]["container"]
    assert {name: pod[name] for name in case["expect"]["pod"]} == case["expect"]["pod"]


FULL: dict[str, Any] = {
    "terminationGracePeriodSeconds": 12,
    "restartPolicy": "OnFailure",
    "containers": [
        {
            "name": "app",
            "image": "app:1",
            "ports": [{"name": "http", "containerPort": 8000}, {"containerPort": 9000}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
            "livenessProbe": {
                "httpGet": {"port": "http", "httpHeaders": [{"name": "X", "value": "y"}]},
                "periodSeconds": 5,
            },
            "readinessProbe": {"grpc": {"port": 9000}, "successThreshold": 2},
            "startupProbe": {"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 3},
            "lifecycle": {"preStop": {"sleep": {"seconds": 4}}, "postStart": {"tcpSocket": {"port": 1}}},
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}],
        }
    ],
}


def test_a_container_becomes_what_the_machine_needs() -> None:
    pod = default_pod(FULL)
    assert decode_errors(pod) == [] and unknown_fields(pod) == [] and validate_pod(pod) == []
    spec = container_spec(pod, pod["containers"][0], "web", "shop")
    assert (spec.container, spec.pod, spec.namespace) == ("app", "web", "shop")
    assert (spec.grace_s, spec.restart_policy, spec.container_restart_policy) == (12, "OnFailure", "Never")
    assert spec.ports == (("http", 8000),)
    assert spec.env == (("A", "1"),)
    assert spec.prestop == 4
    assert spec.poststart == TcpSocket(1)
    assert spec.restart_rules == (RestartRule("In", (3,)),)
    assert [probe.type for probe in spec.probes] == [ProbeType.STARTUP, ProbeType.READINESS, ProbeType.LIVENESS]
    assert spec.probe(ProbeType.STARTUP) == ProbeSpec(ProbeType.STARTUP, Exec(("true",)), grace_s=3)
    assert spec.probe(ProbeType.READINESS) == ProbeSpec(ProbeType.READINESS, Grpc(9000), success_threshold=2)
    assert spec.probe(ProbeType.LIVENESS) == ProbeSpec(
        ProbeType.LIVENESS, HttpGet("http", headers=(("X", "y"),)), period_s=5
    )


def refused(field: str, value: Any) -> list[str]:
    """The messages for a full pod whose container has another value in one field."""
    container: dict[str, Any] = {**FULL["containers"][0], field: value}
    return [error.message for error in validate_pod(default_pod({**FULL, "containers": [container]}))]


@pytest.mark.parametrize(
    ("field", "value", "messages"),
    [
        ("livenessProbe", {}, ["livenessProbe: Required value: must specify a handler type"]),
        ("livenessProbe", {"exec": {}}, ["livenessProbe.exec.command: Required value"]),
        (
            "livenessProbe",
            {"httpGet": {"port": 80, "scheme": "http"}},
            ['livenessProbe.httpGet.scheme: Unsupported value: "http": supported values: "HTTP", "HTTPS"'],
        ),
        (
            "livenessProbe",
            {"grpc": {}},
            ["livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "livenessProbe",
            {"tcpSocket": {"port": 1}, "successThreshold": -1},
            [
                "livenessProbe.successThreshold: Invalid value: -1: must be greater than or equal to 0",
                "livenessProbe.successThreshold: Invalid value: -1: must be 1",
            ],
        ),
        (
            "readinessProbe",
            {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0},
            [
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must not be set for readinessProbes",
            ],
        ),
        (
            "lifecycle",
            {"preStop": {"sleep": {"seconds": 13}}},
            [
                "lifecycle.preStop.sleep: Invalid value: 13: must be non-negative"
                " and less than terminationGracePeriodSeconds (12)"
            ],
        ),
        (
            "restartPolicy",
            None,
            ["restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
        ),
        (
            "restartPolicy",
            "Sometimes",
            ['restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
        ),
        ("image", "", ["image: Required value"]),
        (
            "livenessProbe",
            {"tcpSocket": {"port": "a-very-long-name-"}},
            [
                'livenessProbe.tcpSocket.port: Invalid value: "a-very-long-name-": must be no more than 15 characters',
                'livenessProbe.tcpSocket.port: Invalid value: "a-very-long-name-": must not begin or end with a hyphen',
            ],
        ),
        ("ports", [{"name": "http"}], ["ports[0].containerPort: Required value"]),
        (
            "ports",
            [{"name": "http", "containerPort": 1}, {"name": "http", "containerPort": 70000}],
            [
                'ports[1].name: Duplicate value: "http"',
                "ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
    ],
    ids=lambda value: None,
)
def test_each_mistake_has_kubernetes_words(field: str, value: Any, messages: list[str]) -> None:
    assert refused(field, value) == [f"spec.containers[0].{message}" for message in messages]


def test_container_names_are_unique_and_labels() -> None:
    one, two = {"name": "App", "image": "a:1"}, {"name": "App", "image": "a:1"}
    messages = [error.message for error in validate_pod(default_pod({"containers": [one, two]}))]
    assert messages[-1] == 'spec.containers[1].name: Duplicate value: "App"'
    assert messages[0].startswith('spec.containers[0].name: Invalid value: "App": a lowercase RFC 1123 label')


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"periodSeconds": "10"}, 'periodSeconds: cannot read string "10" as int32'),
        ({"periodSeconds": 1.5}, "periodSeconds: cannot read number 1.5 as int32"),
        ({"periodSeconds": True}, "periodSeconds: cannot read bool true as int32"),
        ({"periodSeconds": 2147483648}, "periodSeconds: cannot read number 2147483648 as int32"),
        ({"httpGet": "/health"}, 'httpGet: cannot read string "/health" as an object'),
        ({"httpGet": {"path": 5}}, "httpGet.path: cannot read number 5 as string"),
        ({"httpGet": {"port": [80]}}, "httpGet.port: cannot read a list as int32 or string"),
        ({"grpc": {"port": "grpc"}}, 'grpc.port: cannot read string "grpc" as int32'),
        ({"exec": {"command": "true"}}, 'exec.command: cannot read string "true" as a list'),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_field(probe: dict[str, Any], message: str) -> None:
    errors = decode_errors({"containers": [{"livenessProbe": probe}]})
    assert [error.message for error in errors] == [f"spec.containers[0].livenessProbe.{message}"]


def test_a_whole_float_is_the_number_it_stands_for() -> None:
    pod = {
        "containers": [{"name": "a", "image": "a:1", "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 5.0}}]
    }
    assert decode_errors(pod) == []
    assert default_pod(pod)["containers"][0]["livenessProbe"]["periodSeconds"] == 5


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1.2", "IfNotPresent"),
        ("registry:5000/app", "Always"),
        ("registry:5000/app:1", "IfNotPresent"),
        ("app@sha256:00", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    container = default_pod({"containers": [{"name": "a", "image": image}]})["containers"][0]
    assert container["imagePullPolicy"] == policy
