"""Reads a live cluster through the user's own kubectl, read only."""

from __future__ import annotations

import concurrent.futures
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from unstall import units
from unstall.errors import BadInput
from unstall.probe import cluster
from unstall.probe.cluster import Pod, Snapshot
from unstall.probe.evidence import LINES_READ

T = TypeVar("T")
EXTRA_S = 10
"""What a kubectl process gets beyond two requests, for logging in and for many chunks."""
LOGS_AT_MOST = 60
"""How many logs are read in one look; the containers that ended last come first."""


class KubectlFailed(BadInput):
    """kubectl could not be run or refused; the hint names the flag or setting to change."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """How to call kubectl: ``namespace`` None means the context's own, ``everywhere`` means ``-A``.
    ``timeout_s`` bounds each request to the API server; the process itself gets twice that and `EXTRA_S`."""

    context: str | None = None
    namespace: str | None = None
    everywhere: bool = False
    selector: str | None = None
    timeout_s: int = 30
    program: str = "kubectl"

    def run(self, *words: str) -> str:
        """Run one kubectl command and return what it printed.

        Raises:
            KubectlFailed: kubectl is missing, took too long or exited with an error.
        """
        path = shutil.which(self.program)
        if path is None:
            raise KubectlFailed(
                f"{self.program} is not on PATH",
                "install kubectl, or read a recorded folder with --from DIR --moment K",
            )
        context = ["--context", self.context] if self.context else []
        command = [path, *words, *context, f"--request-timeout={self.timeout_s}s"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.timeout_s * 2 + EXTRA_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KubectlFailed(
                f"kubectl {words[0]} gave no answer within {self.timeout_s * 2 + EXTRA_S} s",
                "check the cluster's address and your login, or allow more with --timeout",
            ) from None
        except OSError as error:
            raise KubectlFailed(f"kubectl cannot be run: {error.strerror}", f"check {path}") from None
        if done.returncode:
            raise explain(done.stderr, self)
        return done.stdout

    def get(self, what: str, *words: str) -> dict[str, Any]:
        """Run ``kubectl get ... -o json`` in the chosen namespaces. kubectl asks for lists in chunks of 500.

        Raises:
            KubectlFailed: as `run`, or the answer is not JSON.
        """
        return self.json("get", what, *self.where(), *words, "-o", "json")

    def json(self, *words: str) -> dict[str, Any]:
        """Run a command that prints one JSON object.

        Raises:
            KubectlFailed: as `run`, or the answer is not a JSON object.
        """
        try:
            answer = json.loads(self.run(*words))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise KubectlFailed(f"kubectl {' '.join(words[:2])} did not print JSON", "use a newer kubectl")
        return answer

    def where(self) -> list[str]:
        """The words that choose the namespaces."""
        if self.everywhere:
            return ["-A"]
        return ["-n", self.namespace] if self.namespace else []


# What kubectl says on stderr -> what it means, what to do. First match wins; groups fill the braces.
FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        r"connection to the server localhost:8080 was refused",
        "kubectl knows no cluster: there is no kubeconfig, or no context is chosen",
        "set KUBECONFIG, or choose a context with --context (kubectl config get-contexts lists them)",
    ),
    (
        r"current-context is not set",
        "kubectl has no current context",
        "choose one with --context, or run: kubectl config use-context NAME",
    ),
    (
        r"context was not found for specified context: (?P<a>\S+)|context \"(?P<b>[^\"]+)\" does not exist",
        "there is no context {a}{b} in the kubeconfig",
        "change --context (kubectl config get-contexts lists them)",
    ),
    (
        r"error loading config file \"(?P<a>[^\"]+)\": (?P<b>.*)",
        "the kubeconfig {a} cannot be read: {b}",
        "mend the file, or set KUBECONFIG to another",
    ),
    (
        r"\(Forbidden\).*User \"(?P<a>[^\"]+)\" cannot (?P<b>\w+) resource \"(?P<c>[^\"]+)\".*in the namespace "
        r"\"(?P<d>[^\"]+)\"",
        "the user {a} may not {b} {c} in the namespace {d}",
        "ask for a role that allows it, or choose another namespace with -n or user with --context",
    ),
    (
        r"\(Forbidden\).*User \"(?P<a>[^\"]+)\" cannot (?P<b>\w+) resource \"(?P<c>[^\"]+)\".*at the cluster scope",
        "the user {a} may not {b} {c} in all namespaces",
        "choose one namespace with -n in place of -A, or ask for a cluster role that allows it",
    ),
    (
        r"\(Forbidden\):? ?(?P<a>.*)",
        "the cluster forbids it: {a}",
        "ask for a role that allows it, or choose another namespace with -n or user with --context",
    ),
    (
        r"namespaces \"(?P<a>[^\"]+)\" not found",
        "there is no namespace {a} in this cluster",
        "change -n, or the cluster with --context",
    ),
    (
        r"previous terminated container \"(?P<a>[^\"]+)\"",
        "the container {a} has no instance before this one",
        "read the running one: kubectl logs without --previous",
    ),
    (r"\(NotFound\): (?P<a>.+)", "not found: {a}", "check the name, -n and --context"),
    (
        r"(Unauthorized|must be logged in to the server|provided credentials)",
        "the cluster does not accept your login: it is missing or has expired",
        "log in again, or choose another user with --context",
    ),
    (
        r"getting credentials: exec: executable (?P<a>\S+) (?P<b>not found|failed.*)",
        "the login program {a} of the kubeconfig cannot be used: {b}",
        "install or mend {a}, or choose another user with --context",
    ),
    (
        r"getting credentials: (?P<a>.+)",
        "kubectl could not get your credentials: {a}",
        "log in again, or choose another user with --context",
    ),
    (
        r"(?P<a>x509: .+|tls: .+)",
        "the API server's certificate is not trusted: {a}",
        "check certificate-authority in the kubeconfig, or whether --context names the right cluster",
    ),
    (
        r"containerLogs|error trying to reach service|:10250",
        "the node's kubelet does not answer",
        "wait until the node is ready again: kubectl get nodes",
    ),
    (
        r"connection to the server (?P<a>\S+) was refused",
        "the API server {a} refuses connections: it is down, or the address is wrong",
        "check that the cluster runs and that --context names it",
    ),
    (
        r"dial tcp:? (?:lookup )?(?P<a>\S+?):? .*?(?P<b>no route to host|no such host|network is unreachable"
        r"|i/o timeout|connection timed out)",
        "the API server {a} cannot be reached: {b}",
        "check your network or VPN, and that --context names the right cluster",
    ),
    (
        r"context deadline exceeded|Client\.Timeout exceeded|net/http: (?P<a>TLS handshake timeout)|\(Timeout\)",
        "the API server did not answer in time",
        "check your network or VPN, or allow more with --timeout",
    ),
    (
        r"doesn't have a resource type \"(?P<a>[^\"]+)\"|could not find the requested resource",
        "this API server is too old or does not serve {a}",
        "read another cluster with --context",
    ),
    (
        r"unknown flag: (?P<a>\S+)|unable to match a printer",
        "this kubectl is too old or not a kubectl: it does not know what it was asked {a}",
        "install kubectl 1.20 or newer",
    ),
    (
        r"unable to parse requirement: (?P<a>.+)|invalid label (?P<b>.+)",
        "the selector cannot be read: {a}{b}",
        "change --selector, as in app=shop-api",
    ),
    (
        r"\((?P<a>ServiceUnavailable|InternalError|TooManyRequests)\):? ?(?P<b>.*)",
        "the API server could not answer now ({a}): {b}",
        "try again in a moment",
    ),
)

_LOGGING = re.compile(r"^[EWI]\d{4} \d\d:\d\d:\d\d")


def explain(stderr: str, asked: Kubectl) -> KubectlFailed:
    """Turn what kubectl wrote to stderr into one sentence and what to change."""
    lines = [line for line in stderr.splitlines() if line.strip() and not _LOGGING.match(line)]
    text = "\n".join(lines or stderr.splitlines()[-1:])
    for pattern, message, hint in FAILURES:
        found = re.search(pattern, text)
        if found:
            words = {name: "" for name in "abcd"} | {k: v or "" for k, v in found.groupdict().items()}
            return KubectlFailed(message.format(**words).strip(), hint.format(**words))
    first = re.sub(r"^(?:error: |Error from server:? ?)", "", lines[0]) if lines else "it said nothing"
    return KubectlFailed(f"kubectl failed: {first}", "try the same with: kubectl get pods -o json")


def look(kubectl: Kubectl, wanted: Callable[[Snapshot], Iterable[tuple[str, str, str, bool]]]) -> Snapshot:
    """Read pods, events, replica sets, then the logs and counters the first look calls for.

    ``wanted`` names, most urgent first, (namespace, pod, container, running instance) whose log would tell.
    What may not be read becomes a gap; only pods are indispensable.

    Raises:
        KubectlFailed: the pods cannot be read, or the namespace does not exist.
    """
    selector = ["-l", kubectl.selector] if kubectl.selector else []
    pods = cluster.read_pods(kubectl.get("pods", *selector))
    if not pods and kubectl.namespace and not kubectl.everywhere:
        _check_namespace(kubectl)
    gaps: list[str] = []
    events = _or_gap(gaps, "events", lambda: cluster.read_events(kubectl.get("events")))
    sets = _or_gap([], "", lambda: cluster.read_rollouts(kubectl.get("replicasets", *selector)))
    first = Snapshot(pods, events or (), events is not None, rollouts=sets or (), gaps=tuple(gaps))
    return _with_logs(kubectl, first, list(wanted(first)))


def _with_logs(kubectl: Kubectl, first: Snapshot, asked: list[tuple[str, str, str, bool]]) -> Snapshot:
    gaps = list(first.gaps)
    if len(asked) > LOGS_AT_MOST:
        gaps.append(
            f"logs: read for {LOGS_AT_MOST} of {units.count(len(asked))} containers only; narrow with --selector"
        )
        asked = asked[:LOGS_AT_MOST]
    before: dict[tuple[str, str, str], str] = {}
    running: dict[tuple[str, str, str], str] = {}
    refused: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        for (namespace, pod, container, now), text in zip(
            asked, pool.map(lambda one: _log(kubectl, refused, *one), asked), strict=True
        ):
            if text is not None:
                (running if now else before)[namespace, pod, container] = text
    if refused:
        gaps.append(f"logs: {refused[0]}")
    nodes = {pod.node for pod in first.pods if pod.node and _may_be_throttled(pod, asked)}
    counters = {k: v for node in sorted(nodes) for k, v in _counters(kubectl, gaps, node).items()}
    return Snapshot(first.pods, first.events, first.events_read, before, running, counters, first.rollouts, tuple(gaps))


def _may_be_throttled(pod: Pod, asked: list[tuple[str, str, str, bool]]) -> bool:
    limited = {container.name for container in pod.containers if container.cpu_limit is not None}
    return any(row[:2] == (pod.namespace, pod.name) and row[2] in limited for row in asked)


def _check_namespace(kubectl: Kubectl) -> None:
    # A list in a namespace that does not exist is empty with exit status 0: ask for the namespace itself.
    try:
        kubectl.run("get", "namespace", str(kubectl.namespace), "-o", "json")
    except KubectlFailed as failed:
        if "no namespace" in failed.message or "not found" in failed.message:
            raise


def _or_gap(gaps: list[str], what: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except KubectlFailed as failed:
        gaps.append(f"{what}: {failed.message}")
        return None


def _log(kubectl: Kubectl, refused: list[str], namespace: str, pod: str, container: str, now: bool) -> str | None:
    which = [] if now else ["--previous"]
    where = ["-n", namespace, "-c", container, f"--tail={LINES_READ}", "--timestamps"]
    try:
        return kubectl.run("logs", pod, *which, *where)
    except KubectlFailed as failed:
        if "no instance before this one" not in failed.message:
            refused.append(failed.message)
        return None


def _counters(kubectl: Kubectl, gaps: list[str], node: str) -> dict[tuple[str, str], cluster.Throttling]:
    address = f"/api/v1/nodes/{node}/proxy/metrics/cadvisor"
    text = _or_gap(gaps, f"throttling counters of node {node}", lambda: kubectl.run("get", "--raw", address))
    return cluster.read_throttling(text) if text else {}
