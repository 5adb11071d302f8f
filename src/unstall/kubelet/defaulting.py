"""Kubernetes' defaults for the pod fields that matter here, on plain data."""

from __future__ import annotations

from typing import Any

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# Zero means unset for these, as it does for Kubernetes.
PROBE_NUMBERS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}

Plain = dict[str, Any]


def default_pod(pod: Plain) -> Plain:
    """A copy of a pod's spec with every default filled in. Null counts as unset.

    >>> default_pod({"containers": []})["terminationGracePeriodSeconds"]
    30
    """
    pod = without_nulls(pod)
    pod["restartPolicy"] = pod.get("restartPolicy") or "Always"
    pod.setdefault("terminationGracePeriodSeconds", 30)
    for kind in ("containers", "initContainers"):
        if kind in pod:
            pod[kind] = [default_container(container) for container in pod[kind]]
    return pod


def default_container(container: Plain) -> Plain:
    """One container with its defaults."""
    container = {**container}
    container["terminationMessagePath"] = container.get("terminationMessagePath") or "/dev/termination-log"
    container["terminationMessagePolicy"] = container.get("terminationMessagePolicy") or "File"
    container["imagePullPolicy"] = container.get("imagePullPolicy") or pull_policy(container.get("image") or "")
    for name in PROBES:
        if name in container:
            container[name] = default_probe(container[name])
    if "ports" in container:
        container["ports"] = [{**port, "protocol": port.get("protocol") or "TCP"} for port in container["ports"]]
    if "lifecycle" in container:
        container["lifecycle"] = {
            name: default_handlers(hook) if isinstance(hook, dict) else hook
            for name, hook in container["lifecycle"].items()
        }
    return container


def pull_policy(image: str) -> str:
    """``Always`` for an image without a tag or with ``latest``, as Kubernetes guesses it."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "IfNotPresent" if colon and tag != "latest" else "Always"


def default_probe(probe: Plain) -> Plain:
    """One probe with its defaults; a delay of 0 is no delay."""
    probe = default_handlers(probe)
    for name, value in PROBE_NUMBERS.items():
        probe[name] = probe.get(name) or value
    if not probe.get("initialDelaySeconds"):
        probe.pop("initialDelaySeconds", None)
    return probe


def default_handlers(holder: Plain) -> Plain:
    """A probe or a hook with the defaults of whatever handlers it has."""
    holder = {**holder}
    if "httpGet" in holder:
        get = holder["httpGet"]
        holder["httpGet"] = {
            **get, "path": get.get("path") or "/", "scheme": get.get("scheme") or "HTTP", "port": get.get("port", 0),
        }  # fmt: skip
    if "tcpSocket" in holder:
        holder["tcpSocket"] = {**holder["tcpSocket"], "port": holder["tcpSocket"].get("port", 0)}
    if "grpc" in holder:
        grpc = holder["grpc"]
        holder["grpc"] = {**grpc, "port": grpc.get("port", 0), "service": grpc.get("service", "")}
    return holder


def without_nulls(value: Any) -> Any:
    """A deep copy without fields that are null, and with whole floats as the integers they stand for."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
