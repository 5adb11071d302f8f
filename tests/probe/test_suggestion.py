"""What is suggested for a container, and how its command is wrapped, or why not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from unstall.probe import server
from unstall.probe.forecast import History
from unstall.probe.suggestion import CannotWrap, suggestion, with_watch
from unstall.probe.workload import Workload, workloads_in

HTTP = {"httpGet": {"path": "/health", "port": 8000}}


def workload(*others: dict[str, Any], **fields: Any) -> Workload:
    """The first container of a pod; fields that are None are left out."""
    container = {"name": "app", "image": "web:1", "livenessProbe": HTTP, **fields}
    container = {name: value for name, value in container.items() if value is not None}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container, *others]}}
    return workloads_in(yaml.safe_dump(pod), "web.yaml")[0][0]


def test_the_numbers_follow_from_the_stalls_and_only_those_that_change_are_named() -> None:
    one = suggestion(workload(), History((25.0,)))
    assert one.patch["livenessProbe"] == {"timeoutSeconds": 10}
    assert suggestion(workload(), History((40.0,))).patch["livenessProbe"] == {
        "timeoutSeconds": 1,
        "failureThreshold": 6,
    }
    assert suggestion(workload(), History((5.0,))).patch.keys() == {"startupProbe", "terminationMessagePolicy"}
    assert "livenessProbe" not in suggestion(workload(), None).patch


def test_what_is_there_is_not_suggested_again() -> None:
    whole = workload(startupProbe=HTTP, terminationMessagePolicy="File")
    assert suggestion(whole, History((5.0,))).patch == {}


@pytest.mark.parametrize(
    ("probe", "slowest_s", "allowed_s"),
    [
        (HTTP, None, 120),
        (HTTP, 60.0, 240),
        ({**HTTP, "initialDelaySeconds": 300}, None, 330),
        ({**HTTP, "periodSeconds": 30, "failureThreshold": 10}, None, 300),
    ],
)
def test_an_added_startup_probe_allows_at_least_what_was_allowed_before(
    probe: dict[str, Any], slowest_s: float | None, allowed_s: int
) -> None:
    added = suggestion(workload(livenessProbe=probe), None, slowest_s).patch["startupProbe"]
    assert added["periodSeconds"] * added["failureThreshold"] == allowed_s
    assert added["httpGet"] == HTTP["httpGet"]


def test_a_command_is_not_asked_every_two_seconds() -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 20}
    added = suggestion(workload(livenessProbe=probe), None).patch["startupProbe"]
    assert (added["periodSeconds"], added["failureThreshold"]) == (20, 6)


def test_with_watch_moves_all_probes_to_the_observers_port_and_wraps_the_command() -> None:
    one = workload(
        command=["uvicorn", "a:app"],
        readinessProbe={"httpGet": {"path": "/", "port": "http", "scheme": "HTTPS", "httpHeaders": []}},
        startupProbe={"tcpSocket": {"port": 8000}, "failureThreshold": 9},
        livenessProbe={"exec": {"command": ["true"]}},
        ports=[{"name": "http", "containerPort": 8000}],
    )
    patch = with_watch(one, None).patch
    assert patch["command"] == ["unstall", "run", "--health-port", "8099", "--", "uvicorn", "a:app"]
    assert patch["ports"] == [{"name": "unstall-health", "containerPort": 8099}]
    assert patch["readinessProbe"] == {
        "httpGet": {"path": "/readyz", "port": "unstall-health", "scheme": None, "httpHeaders": None}
    }
    assert patch["startupProbe"] == {"tcpSocket": None, "httpGet": {"path": "/startupz", "port": "unstall-health"}}
    assert patch["livenessProbe"] == {"exec": None, "httpGet": {"path": "/livez", "port": "unstall-health"}}


def test_the_observer_is_given_more_patience_than_the_longest_stall() -> None:
    one = workload(command=["uvicorn", "a:app"])
    assert "--dead-after" not in with_watch(one, History((25.0,))).patch["command"]
    command = with_watch(one, History((65.0,))).patch["command"]
    assert command[command.index("--dead-after") + 1] == "78"


def test_a_port_that_is_taken_anywhere_in_the_pod_is_not_used() -> None:
    side = {"name": "side", "image": "s", "ports": [{"name": "unstall-health", "containerPort": 8099}]}
    patch = with_watch(workload(side, command=["uvicorn", "a:app"]), None).patch
    assert patch["ports"] == [{"name": "unstall-health0", "containerPort": 8100}]
    assert "8100" in patch["command"]


def test_a_command_that_is_wrapped_already_is_not_wrapped_twice() -> None:
    told = ["unstall", "run", "--health-port", "9000", "--", "uvicorn", "a:app"]
    patch = with_watch(workload(command=told), None).patch
    assert "command" not in patch
    assert patch["ports"] == [{"name": "unstall-health", "containerPort": 9000}]
    bare = with_watch(workload(command=["unstall", "run", "--", "uvicorn", "a:app"]), None).patch["command"]
    assert bare == ["unstall", "run", "--health-port", "8099", "--", "uvicorn", "a:app"]


def test_a_shell_is_wrapped_from_outside() -> None:
    patch = with_watch(workload(command=["sh", "-c", "exec uvicorn a:app"]), None).patch
    assert patch["command"][-4:] == ["--", "sh", "-c", "exec uvicorn a:app"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "it has no command, and what its image starts the manifest does not say"),
        ({"args": ["a:app"]}, "it has args and no command"),
        ({"command": ["granian", "a:app"]}, "starts granian"),
        ({"command": ["uvicorn"], "livenessProbe": None}, "no probe to move"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(CannotWrap, match=reason):
        with_watch(workload(**fields), None)


# --- what a command says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "ports"),
    [
        ({"command": ["uvicorn", "a:app"]}, {8000}),
        ({"command": ["uvicorn", "a:app", "--port", "80"]}, {80}),
        ({"command": ["/venv/bin/uvicorn", "a:app", "--port=81"]}, {81}),
        ({"command": ["uvicorn"], "args": ["a:app", "--port", "82"]}, {82}),
        ({"command": ["sh", "-c", "exec uvicorn a:app --port 83"]}, {83}),
        ({"command": ["sh", "-c", "uvicorn a:app --port $PORT"]}, None),
        ({"command": ["python", "-m", "uvicorn", "a:app"]}, {8000}),
        ({"command": ["fastapi", "run"]}, {8000}),
        ({"command": ["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "-b", "0.0.0.0:84", "a:app"]}, {84}),
        ({"command": ["gunicorn", "--bind=:85", "-b", "[::]:86", "a:app"]}, {85, 86}),
        ({"command": ["gunicorn", "-c", "conf.py", "a:app"]}, None),
        ({"command": ["gunicorn", "-b", "unix:/x", "a:app"]}, None),
        ({"command": ["hypercorn", "a:app", "--bind", "0.0.0.0:87"]}, {87}),
        ({"command": ["uvicorn", "a:app"], "env": [{"name": "UVICORN_PORT", "value": "88"}]}, {88}),
        ({"command": ["uvicorn", "a:app"], "envFrom": [{"configMapRef": {"name": "c"}}]}, None),
        ({"command": ["python", "main.py"]}, None),
        ({}, None),
    ],
)
def test_the_port_of_the_server_is_read_from_its_command(fields: dict[str, Any], ports: set[int] | None) -> None:
    assert server.ports(workload(**fields)) == ports


@pytest.mark.parametrize(
    ("command", "name", "shell"),
    [
        (["sh", "-c", "uvicorn a:app"], "uvicorn", True),
        (["/bin/bash", "-ec", "exec uvicorn a:app"], "uvicorn", False),
        (["python3.12", "-m", "hypercorn", "a:app"], "hypercorn", False),
        (["python", "main.py"], "python", False),
        (["nginx", "-g", "daemon off;"], "nginx", False),
        (["sh", "start.sh"], "", False),
    ],
)
def test_the_server_is_found_in_its_command(command: list[str], name: str, shell: bool) -> None:
    told = server.server(workload(command=command))
    assert (told.name, told.shell) == (name, shell)


@pytest.mark.parametrize(
    ("fields", "workers"),
    [
        ({"command": ["uvicorn", "--workers", "4"]}, 4),
        ({"command": ["gunicorn", "-w4"]}, 4),
        ({"env": [{"name": "WEB_CONCURRENCY", "value": "3"}]}, 3),
        ({}, 1),
    ],
)
def test_workers_are_read_from_command_and_environment(fields: dict[str, Any], workers: int) -> None:
    assert server.workers(workload(**fields)) == workers
