"""The JSON types of the pod fields that matter here: what Kubernetes refuses before it validates anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INT32 = (-(1 << 31), (1 << 31) - 1)
INT64 = (-(1 << 63), (1 << 63) - 1)
RANGES = {"int32": INT32, "int64": INT64}

HTTP_GET = {
    "path": "string", "port": "port", "host": "string", "scheme": "string",
    "httpHeaders": [{"name": "string", "value": "string"}],
}  # fmt: skip
EXEC = {"command": ["string"]}
TCP_SOCKET = {"port": "port", "host": "string"}
PROBE = {
    "exec": EXEC, "httpGet": HTTP_GET, "tcpSocket": TCP_SOCKET,
    "grpc": {"port": "int32", "service": "string"},
    "initialDelaySeconds": "int32", "timeoutSeconds": "int32", "periodSeconds": "int32",
    "successThreshold": "int32", "failureThreshold": "int32", "terminationGracePeriodSeconds": "int64",
}  # fmt: skip
HOOK = {"exec": EXEC, "httpGet": HTTP_GET, "tcpSocket": TCP_SOCKET, "sleep": {"seconds": "int64"}}
RESTART_RULE = {"action": "string", "exitCodes": {"operator": "string", "values": ["int32"]}}
CONTAINER = {
    "name": "string", "image": "string", "imagePullPolicy": "string", "workingDir": "string",
    "command": ["string"], "args": ["string"],
    "ports": [{"name": "string", "containerPort": "int32", "hostPort": "int32", "protocol": "string", "hostIP": "string"}],
    "env": [{"name": "string", "value": "string", "valueFrom": "any"}],
    "livenessProbe": PROBE, "readinessProbe": PROBE, "startupProbe": PROBE,
    "lifecycle": {"postStart": HOOK, "preStop": HOOK, "stopSignal": "string"},
    "restartPolicy": "string", "restartPolicyRules": [RESTART_RULE],
    "terminationMessagePath": "string", "terminationMessagePolicy": "string",
    "envFrom": "any", "resources": "any", "resizePolicy": "any", "volumeMounts": "any", "volumeDevices": "any",
    "securityContext": "any", "stdin": "any", "stdinOnce": "any", "tty": "any",
}  # fmt: skip
# Fields of the pod that nobody here reads are left alone, so there is no telling an unknown one.
POD = {
    "containers": [CONTAINER], "initContainers": [CONTAINER],
    "restartPolicy": "string", "terminationGracePeriodSeconds": "int64", "hostNetwork": "any", "...": "any",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodeError:
    """A value of the wrong type, or a field that does not exist. ``hint`` says what to write instead."""

    field: str
    message: str
    hint: str = ""


def decode_errors(pod: Any, field: str = "spec") -> list[DecodeError]:
    """Every value of a wrong type in a pod's spec.

    >>> [error.message for error in decode_errors({"terminationGracePeriodSeconds": "30"})]
    ['spec.terminationGracePeriodSeconds: cannot read string "30" as int64']
    """
    return [error for error in walk(pod, POD, field) if error.hint != UNKNOWN]


def unknown_fields(pod: Any, field: str = "spec") -> list[DecodeError]:
    """Every field of a container that Kubernetes does not know, as ``kubectl`` refuses them."""
    return [error for error in walk(pod, POD, field) if error.hint == UNKNOWN]


UNKNOWN = "unknown"


def walk(value: Any, schema: Any, field: str) -> Iterator[DecodeError]:
    """All errors below one value; null means unset everywhere."""
    if value is None or schema == "any":
        return
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            yield wrong(field, value, "an object", "indent its fields below it")
            return
        for name, inner in value.items():
            child = f"{field}.{name}"
            if name in schema:
                yield from walk(inner, schema[name], child)
            elif "..." not in schema:
                yield DecodeError(child, f'unknown field "{child}"', UNKNOWN)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield wrong(field, value, "a list", "begin each entry with '- '")
            return
        for index, inner in enumerate(value):
            yield from walk(inner, schema[0], f"{field}[{index}]")
    else:
        yield from scalar(value, schema, field)


def scalar(value: Any, kind: str, field: str) -> Iterator[DecodeError]:
    """The error of one plain value, if any."""
    number = isinstance(value, int) and not isinstance(value, bool)
    if kind == "string":
        if not isinstance(value, str):
            yield wrong(field, value, "string", "put it in quotes")
    elif kind == "port" and isinstance(value, str):
        return
    elif number or (isinstance(value, float) and value.is_integer()):
        low, high = RANGES.get(kind, INT32)
        if not low <= int(value) <= high:
            yield wrong(field, value, kind if kind != "port" else "int32 or string", "write a smaller number")
    else:
        hint = "write a whole number without quotes" if isinstance(value, str) else "write a whole number"
        yield wrong(field, value, kind if kind != "port" else "int32 or string", hint)


def wrong(field: str, value: Any, kind: str, hint: str) -> DecodeError:
    """A value that is not of its field's kind."""
    return DecodeError(field, f"{field}: cannot read {shown(value)} as {kind}", hint)


def shown(value: Any) -> str:
    """A value as its JSON type and text."""
    if isinstance(value, bool):
        return f"bool {str(value).lower()}"
    if isinstance(value, str):
        return f'string "{value}"'
    if isinstance(value, (int, float)):
        return f"number {value}"
    return "an object" if isinstance(value, dict) else "a list"
