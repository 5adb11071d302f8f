"""Kubernetes' validation of the pod fields that matter here, in its words and its order, on plain data.

Validation follows defaulting: hand in what `default_pod` returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unstall.kubelet.defaulting import Plain
from unstall.kubelet.wording import quote

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    " an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
HEADER_NAME = re.compile(r"[-A-Za-z0-9]+")
HEADER_NAME_TEXT = (
    "a valid HTTP header must consist of alphanumeric characters or '-'"
    " (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
)
PORT_RANGE_TEXT = "must be between 1 and 65535, inclusive"
NOT_NEGATIVE_TEXT = "must be greater than or equal to 0"
ONE_HANDLER_TEXT = "may not specify more than 1 handler type"
SIDECAR_ONLY_TEXT = "may not be set for init containers without restartPolicy=Always"
NOT_NEGATIVE = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
PROTOCOLS = ("SCTP", "TCP", "UDP")
RULE_LIMIT = 20
EXIT_CODE_LIMIT = 255

# The text that stands before the detail, by the error's type.
KINDS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueTooMany": "Too many",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One of Kubernetes' field errors; ``message`` is what its API server prints."""

    type: str
    field: str
    detail: str
    message: str


Errors = Iterator[FieldError]


def field_error(type: str, field: str, detail: str, value: Any = None) -> FieldError:
    """An error with its message; types that show a value are given one."""
    kind = KINDS[type]
    if value is not None:
        kind += f": {quote(value) if isinstance(value, str) else value}"
    return FieldError(type, field, detail, f"{field}: {kind}" + (f": {detail}" if detail else ""))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """A value out of its range or form."""
    return field_error("FieldValueInvalid", field, detail, value)


def forbidden(field: str, detail: str) -> FieldError:
    """A field that may not be there."""
    return field_error("FieldValueForbidden", field, detail)


def required(field: str, detail: str = "") -> FieldError:
    """A field that must be there."""
    return field_error("FieldValueRequired", field, detail)


def not_supported(field: str, value: str, supported: tuple[str, ...]) -> FieldError:
    """A word that is none of the known ones."""
    detail = "supported values: " + ", ".join(quote(word) for word in supported)
    return field_error("FieldValueNotSupported", field, detail, value)


def duplicate(field: str, value: str) -> FieldError:
    """A name that was taken already."""
    return field_error("FieldValueDuplicate", field, "", value)


def too_many(field: str, count: int, limit: int) -> FieldError:
    """A list that is too long."""
    return field_error("FieldValueTooMany", field, f"must have at most {limit} items", count)


def validate_pod(pod: Plain, field: str = "spec") -> list[FieldError]:
    """Every error of a defaulted pod spec that concerns containers, probes, hooks and restarts.

    >>> [error.message for error in validate_pod({"containers": [], "restartPolicy": "Always"})]
    ['spec.containers: Required value']
    """
    return list(pod_errors(pod, field))


def pod_errors(pod: Plain, field: str) -> Errors:
    """The pod's errors in Kubernetes' order."""
    grace_s = pod.get("terminationGracePeriodSeconds", 30)
    containers = pod.get("containers") or []
    names: set[str] = set()
    if not containers:
        yield required(f"{field}.containers")
    for index, container in enumerate(containers):
        path = f"{field}.containers[{index}]"
        yield from common_errors(container, path)
        yield from name_taken(container, path, names)
        yield from lifecycle_errors(container, path, grace_s)
        yield from probe_errors(container, path)
        yield from restart_errors(container, path)
    for index, container in enumerate(pod.get("initContainers") or []):
        path = f"{field}.initContainers[{index}]"
        yield from common_errors(container, path)
        yield from name_taken(container, path, names)
        yield from restart_errors(container, path)
        if container.get("restartPolicy") == "Always":
            yield from lifecycle_errors(container, path, grace_s)
            yield from probe_errors(container, path)
        else:
            for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if name in container:
                    yield forbidden(f"{path}.{name}", SIDECAR_ONLY_TEXT)
    if pod["restartPolicy"] not in RESTART_POLICIES:
        yield not_supported(f"{field}.restartPolicy", pod["restartPolicy"], RESTART_POLICIES)


def name_taken(container: Plain, path: str, names: set[str]) -> Errors:
    """Container names are unique within a pod."""
    name = container.get("name", "")
    if name in names:
        yield duplicate(f"{path}.name", name)
    names.add(name)


def common_errors(container: Plain, path: str) -> Errors:
    """What holds for containers of all kinds."""
    name = container.get("name", "")
    image = container.get("image", "")
    if not name:
        yield required(f"{path}.name")
    elif len(name) > 63:
        yield invalid(f"{path}.name", name, "must be no more than 63 bytes")
    if name and not DNS_LABEL.fullmatch(name):
        yield invalid(f"{path}.name", name, DNS_LABEL_TEXT)
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    if container["terminationMessagePolicy"] not in MESSAGE_POLICIES:
        yield not_supported(f"{path}.terminationMessagePolicy", container["terminationMessagePolicy"], MESSAGE_POLICIES)
    yield from container_port_errors(container.get("ports") or [], f"{path}.ports")
    for index, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            yield required(f"{path}.env[{index}].name")
    if container["imagePullPolicy"] not in PULL_POLICIES:
        yield not_supported(f"{path}.imagePullPolicy", container["imagePullPolicy"], PULL_POLICIES)


def container_port_errors(ports: list[Plain], path: str) -> Errors:
    """Ports and their names, which probes may use."""
    names: set[str] = set()
    for index, port in enumerate(ports):
        name, number, protocol = port.get("name", ""), port.get("containerPort", 0), port["protocol"]
        if name:
            problems = port_name_problems(name)
            for problem in problems:
                yield invalid(f"{path}[{index}].name", name, problem)
            if not problems and name in names:
                yield duplicate(f"{path}[{index}].name", name)
            names.add(name)
        if number == 0:
            yield required(f"{path}[{index}].containerPort")
        elif not 0 < number < 65536:
            yield invalid(f"{path}[{index}].containerPort", number, PORT_RANGE_TEXT)
        if port.get("hostPort") and not 0 < port["hostPort"] < 65536:
            yield invalid(f"{path}[{index}].hostPort", port["hostPort"], PORT_RANGE_TEXT)
        if protocol not in PROTOCOLS:
            yield not_supported(f"{path}[{index}].protocol", protocol, PROTOCOLS)


def port_name_problems(name: str) -> list[str]:
    """All that is wrong with a port's name."""
    problems = []
    if len(name.encode()) > 15:
        problems.append("must be no more than 15 characters")
    if not re.fullmatch("[-a-z0-9]+", name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_errors(port: int | str, path: str) -> Errors:
    """A probe's or hook's port, number or name; whether the name exists is not asked."""
    if isinstance(port, str):
        for problem in port_name_problems(port):
            yield invalid(path, port, problem)
    elif not 0 < port < 65536:
        yield invalid(path, port, PORT_RANGE_TEXT)


def probe_errors(container: Plain, path: str) -> Errors:
    """The three probes."""
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name not in container:
            continue
        probe, field = container[name], f"{path}.{name}"
        yield from handler_errors(probe, field, None)
        for number in NOT_NEGATIVE:
            if probe.get(number, 0) < 0:
                yield invalid(f"{field}.{number}", probe[number], NOT_NEGATIVE_TEXT)
        grace_s = probe.get("terminationGracePeriodSeconds")
        if grace_s is not None and grace_s <= 0:
            yield invalid(f"{field}.terminationGracePeriodSeconds", grace_s, "must be greater than 0")
        if name == "readinessProbe" and grace_s is not None:
            yield invalid(f"{field}.terminationGracePeriodSeconds", grace_s, "must not be set for readinessProbes")
        if name != "readinessProbe" and probe["successThreshold"] != 1:
            yield invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1")


def lifecycle_errors(container: Plain, path: str, grace_s: int) -> Errors:
    """The two hooks."""
    for name in ("postStart", "preStop"):
        hook = (container.get("lifecycle") or {}).get(name)
        if hook is not None:
            yield from handler_errors(hook, f"{path}.lifecycle.{name}", grace_s)


def handler_errors(holder: Plain, field: str, grace_s: int | None) -> Errors:
    """Exactly one handler, and what each demands; ``sleep`` belongs to hooks only, which have a ``grace_s``."""
    found = [name for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if name in holder]
    if not found:
        yield required(field, "must specify a handler type")
        return
    first, handler = found[0], holder[found[0]]
    path = f"{field}.{first}"
    if first == "exec" and not handler.get("command"):
        yield required(f"{path}.command")
    if first == "httpGet":
        yield from http_get_errors(handler, path)
    if first in ("tcpSocket", "grpc"):
        yield from port_errors(handler["port"], f"{path}.port")
    if first == "sleep" and grace_s is not None and not 0 <= handler.get("seconds", 0) <= grace_s:
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
        yield invalid(path, handler.get("seconds", 0), text)
    for other in found[1:]:
        yield forbidden(f"{field}.{other}", ONE_HANDLER_TEXT)


def http_get_errors(get: Plain, path: str) -> Errors:
    """Port, scheme and header names; the path, the host and header values may be anything."""
    yield from port_errors(get["port"], f"{path}.port")
    if get["scheme"] not in ("HTTP", "HTTPS"):
        yield not_supported(f"{path}.scheme", get["scheme"], ("HTTP", "HTTPS"))
    for header in get.get("httpHeaders") or []:
        name = header.get("name", "")
        if not HEADER_NAME.fullmatch(name):
            yield invalid(f"{path}.httpHeaders", name, HEADER_NAME_TEXT)


def restart_errors(container: Plain, path: str) -> Errors:
    """A container's own restart policy and rules."""
    policy = container.get("restartPolicy")
    rules = container.get("restartPolicyRules") or []
    if policy is None and rules:
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if policy is not None and policy not in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    if len(rules) > RULE_LIMIT:
        yield too_many(f"{path}.restartPolicyRules", len(rules), RULE_LIMIT)
    for index, rule in enumerate(rules):
        field = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action", "") not in ("Restart", "RestartAllContainers"):
            yield not_supported(f"{field}.action", rule.get("action", ""), ("Restart", "RestartAllContainers"))
        codes = rule.get("exitCodes")
        if codes is None:
            yield required(f"{field}.exitCodes", "must be specified")
            continue
        if codes.get("operator", "") not in ("In", "NotIn"):
            yield not_supported(f"{field}.exitCodes.operator", codes.get("operator", ""), ("In", "NotIn"))
        if len(codes.get("values") or []) > EXIT_CODE_LIMIT:
            yield too_many(f"{field}.exitCodes.values", len(codes["values"]), EXIT_CODE_LIMIT)
