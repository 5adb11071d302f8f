"""Builds records as kubectl prints them, for ends of pods that the recorded cluster did not have."""

from __future__ import annotations

import datetime
from typing import Any

from unstall.probe import cluster
from unstall.probe.cluster import Snapshot

BEGAN = datetime.datetime(2026, 11, 22, 14, 0, 0, tzinfo=datetime.UTC)
UVICORN = (
    "INFO:     Started server process [1]\n"
    "INFO:     Waiting for application startup.\n"
    "INFO:     Application startup complete.\n"
    "INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)\n"
)
OK = 'INFO:     10.0.0.1:4000 - "GET /health HTTP/1.1" 200 OK\n'
SHUT = (
    "INFO:     Shutting down\n"
    "INFO:     Waiting for application shutdown.\n"
    "INFO:     Application shutdown complete.\n"
    "INFO:     Finished server process [1]\n"
)
SILENT = 'Get "http://10.0.0.9:8000/health": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
REFUSED = 'Get "http://10.0.0.9:8000/health": dial tcp 10.0.0.9:8000: connect: connection refused'


def stamp(second: float) -> str:
    """A second of the story as the API writes it."""
    return (BEGAN + datetime.timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def http(path: str = "/health", port: int | str = 8000, **fields: int) -> dict[str, Any]:
    """An HTTP probe as the API returns it."""
    settings = {"periodSeconds": 5, "timeoutSeconds": 1, "failureThreshold": 2, "successThreshold": 1}
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}, **settings, **fields}


def ended(code: int, began: float, finished: float, reason: str = "", message: str = "") -> dict[str, Any]:
    """A terminated state."""
    told = {"message": message} if message else {}
    times = {"startedAt": stamp(began), "finishedAt": stamp(finished)}
    return {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), **times, **told}


def pod(
    last: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    restarts: int = 1,
    spec: dict[str, Any] | None = None,
    owner: tuple[str, str] = ("ReplicaSet", "shop-api-6d4f"),
    top: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    ready: bool = True,
    started: bool = True,
    kind: str = "container",
) -> dict[str, Any]:
    """One pod with one container called app; ``last`` is its lastState, ``state`` running unless given."""
    described = {"name": "app", "image": "shop:1", "livenessProbe": http(initialDelaySeconds=5), **(spec or {})}
    one = {
        "name": "app",
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "state": state or {"running": {"startedAt": stamp(61 if last else 1)}},
        "lastState": {"terminated": last} if last else {},
    }
    init = kind == "init"
    return {
        "metadata": {
            "name": "shop-api-6d4f-x2k4",
            "namespace": "shop",
            "uid": "u1",
            "creationTimestamp": stamp(0),
            "labels": {"pod-template-hash": "6d4f"},
            "ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True}],
            **(meta or {}),
        },
        "spec": {
            "initContainers" if init else "containers": [described],
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            **(top or {}),
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses" if init else "containerStatuses": [one],
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(5)}],
            **(status or {}),
        },
    }


def event(
    reason: str,
    message: str,
    first: float,
    last: float | None = None,
    count: int = 1,
    container: str = "app",
    kind: str = "Pod",
    name: str = "shop-api-6d4f-x2k4",
    type: str = "Normal",
    uid: str = "u1",
) -> dict[str, Any]:
    """One event object of the kubelet's old style."""
    field = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
    return {
        "involvedObject": {"kind": kind, "namespace": "shop", "name": name, "uid": uid, **field},
        "reason": reason,
        "message": message,
        "type": type,
        "count": count,
        "firstTimestamp": stamp(first),
        "lastTimestamp": stamp(last if last is not None else first),
        "metadata": {"namespace": "shop", "creationTimestamp": stamp(first)},
    }


def unhealthy(type: str, text: str, first: float, last: float, count: int) -> dict[str, Any]:
    """A failed probe's event."""
    return event("Unhealthy", f"{type} probe failed: {text}", first, last, count, type="Warning")


def killing(at: float, count: int = 1, probe: str = "liveness") -> dict[str, Any]:
    """A kill by a probe."""
    return event("Killing", f"Container app failed {probe} probe, will be restarted", at, count=count)


def started(*seconds: float) -> dict[str, Any]:
    """The kubelet's event for all starts."""
    return event("Started", "Container started", seconds[0], seconds[-1], len(seconds))


def snapshot(
    *pods: dict[str, Any], events: list[dict[str, Any]] | None = None, log: str | None = None, **fields: Any
) -> Snapshot:
    """What one look at the cluster gave; ``events`` None means that they were refused."""
    read = cluster.read_pods({"items": list(pods)})
    logs = {("shop", "shop-api-6d4f-x2k4", "app"): log} if log is not None else {}
    return Snapshot(read, cluster.read_events({"items": events or []}), events is not None, logs, **fields)
