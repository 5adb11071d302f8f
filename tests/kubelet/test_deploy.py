"""The manifests in deploy/: what would be applied to a cluster."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from unstall.kubelet.manifests import pod_spec, read_pods
from unstall.model import HttpGet, ProbeType

DEPLOY = Path(__file__).parents[2] / "deploy"
APPS = ("blocking", "awaited", "threaded")
FILES = (*APPS, "client-job", "health")


def workload(name: str) -> dict[str, Any]:
    """The first object of a file."""
    return next(iter(yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())))


def container(name: str) -> dict[str, Any]:
    [only] = workload(name)["spec"]["template"]["spec"]["containers"]
    return only


def test_kubernetes_would_take_every_manifest() -> None:
    assert sorted(Path(pod.spec.path).stem for pod in read_pods(DEPLOY)) == sorted(FILES)


@pytest.mark.parametrize("name", APPS)
def test_each_app_has_the_experiments_liveness_probe_and_delay(name: str) -> None:
    spec = pod_spec(DEPLOY / f"{name}.yaml")
    probe = spec.probe(ProbeType.LIVENESS)
    assert probe is not None and len(spec.probes) == 1
    assert probe.handler == HttpGet("http", "/health")
    assert (probe.period_s, probe.timeout_s, probe.failure_threshold) == (5, 1, 3)
    assert dict(spec.ports)["http"] == 8000
    assert dict(spec.env)["HELLO_SECONDS"] == "5"


@pytest.mark.parametrize("name", APPS)
def test_each_app_is_served_from_a_module_that_exists(name: str) -> None:
    [argument] = container(name)["args"]
    module, _, attribute = argument.partition(":")
    assert importlib.util.find_spec(module) is not None and attribute == "app"


@pytest.mark.parametrize("name", APPS)
def test_the_service_finds_the_pods(name: str) -> None:
    deployment, service = yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert service["metadata"]["name"] == name and service["spec"]["ports"][0]["targetPort"] == "http"


@pytest.mark.parametrize("name", FILES)
def test_every_pod_fits_a_restricted_namespace(name: str) -> None:
    pod, only = workload(name)["spec"]["template"]["spec"], container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert {"requests", "limits"} <= only["resources"].keys() and "memory" in only["resources"]["limits"]


@pytest.mark.parametrize("name", FILES)
def test_every_image_has_a_tag_that_does_not_move(name: str) -> None:
    assert re.fullmatch(r"[a-z-]+:\d+\.\d+\.\d+", container(name)["image"])
    assert container(name)["imagePullPolicy"] == "IfNotPresent"


def test_the_client_asks_five_times_at_once() -> None:
    only = container("client-job")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [
        sys.executable,
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "warning",
        "unstall.lab.apps.awaited:app",
    ]
    server = subprocess.Popen(serve, env={**os.environ, "HELLO_SECONDS": "0.5"})
    try:
        wait_for(port)
        env = {**os.environ, "URL": f"http://127.0.0.1:{port}/hello", "REQUESTS": "5"}
        command = [sys.executable, *only["command"][1:]]
        said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    finally:
        server.terminate()
        server.wait(20)
    numbers = [re.fullmatch(r"request (\d): 200 after \d+\.\d s", line) for line in said.splitlines()]
    assert sorted(match.group(1) for match in numbers if match) == list("12345"), said


def wait_for(port: int) -> None:
    """Until the server listens."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server never listened")
