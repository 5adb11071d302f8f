"""Ends the recorded cluster did not have, built from the same kinds of records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records_of import (
    OK,
    REFUSED,
    SHUT,
    SILENT,
    UVICORN,
    ended,
    event,
    http,
    killing,
    pod,
    snapshot,
    stamp,
    started,
    unhealthy,
)

from unstall.probe.cluster import Snapshot, Throttling
from unstall.probe.diagnose import Diagnosis, diagnose, logs_wanted
from unstall.runtime.story import TerminationMessage

BLOCKED = [started(1, 61), unhealthy("Liveness", SILENT, 20, 25, 2), killing(25)]
HELLO = 'INFO:     10.0.0.7:4001 - "GET /hello HTTP/1.1" 200 OK\n'


def only(looked: Snapshot) -> Diagnosis:
    [one] = diagnose(looked)
    return one


def test_a_block_that_ends_in_the_grace_is_recognised_by_exit_0_and_the_request_before_the_shutdown() -> None:
    one = only(snapshot(pod(ended(0, 1, 40)), events=BLOCKED, log=UVICORN + OK + HELLO + SHUT))
    assert (one.cause, one.confidence) == ("loop-blocked", "likely")
    assert any("GET /hello" in text for text in one.evidence)


def test_exit_143_after_a_liveness_kill_is_not_mistaken_for_a_sigterm_from_elsewhere() -> None:
    log = (UVICORN + OK + HELLO + SHUT).replace("[1]", "[7]")
    one = only(snapshot(pod(ended(143, 1, 40)), events=BLOCKED, log=log))
    assert one.cause == "loop-blocked"


def test_sigterm_to_process_1_from_inside_ends_with_0_and_no_kill_on_record() -> None:
    events = [event("Scheduled", "assigned", 0, container=""), started(1, 61)]
    one = only(snapshot(pod(ended(0, 1, 60)), events=events, log=UVICORN + OK * 11 + SHUT))
    assert (one.cause, one.confidence) == ("sigterm-not-by-probe", "certain")


def test_a_server_that_reached_its_own_limit_of_requests_ended_itself() -> None:
    events = [event("Scheduled", "assigned", 0, container=""), started(1, 61)]
    log = UVICORN + OK * 11 + "WARNING:  Maximum request limit of 500 exceeded. Terminating process.\n" + SHUT
    one = only(snapshot(pod(ended(0, 1, 60)), events=events, log=log))
    assert (one.cause, one.confidence) == ("crash", "certain")
    assert "--limit-max-requests" in one.next


def test_exit_0_without_a_log_and_without_a_kill_is_unknown() -> None:
    events = [event("Scheduled", "assigned", 0, container=""), started(1, 61)]
    one = only(snapshot(pod(ended(0, 1, 60)), events=events))
    assert one.cause == "unknown"
    assert set(one.candidates) == {"sigterm-not-by-probe", "crash"}


def test_time_stamps_in_the_log_show_that_sigterm_was_handled_late() -> None:
    shut = f"{stamp(38)} INFO:     Shutting down\n{stamp(38)} INFO:     Finished server process [1]\n"
    log = "".join(f"{stamp(2)} {line}\n" for line in UVICORN.splitlines()) + shut
    one = only(snapshot(pod(ended(0, 1, 39)), events=BLOCKED, log=log))
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    assert any("13.0 s after it was sent" in text for text in one.evidence)


def test_time_stamps_in_the_log_show_that_the_loop_was_free() -> None:
    shut = f"{stamp(25)} INFO:     Shutting down\n{stamp(25)} INFO:     Waiting for connections to close. (CTRL+C)\n"
    done = f"{stamp(45)} INFO:     Finished server process [1]\n"
    log = "".join(f"{stamp(2)} {line}\n" for line in (UVICORN + HELLO).splitlines()) + shut + done
    one = only(snapshot(pod(ended(0, 1, 46)), events=BLOCKED, log=log))
    assert (one.cause, one.confidence) == ("threadpool-exhausted", "likely")


def test_two_blocked_workers_of_three_leave_shutdown_lines_missing() -> None:
    workers = "".join(f"INFO:     Started server process [{n}]\n" for n in (8, 9, 10))
    log = "INFO:     Started parent process [1]\n" + workers + UVICORN.split("\n", 1)[1] + SHUT
    one = only(snapshot(pod(ended(137, 1, 57)), events=BLOCKED, log=log))
    assert one.cause == "loop-blocked"
    assert any("1 of 3 workers" in text for text in one.evidence)


def test_a_shell_as_process_1_makes_the_missing_shutdown_line_worthless() -> None:
    spec = {"command": ["sh", "-c", "uvicorn app:app; echo over"]}
    log = (UVICORN + OK).replace("[1]", "[7]")
    one = only(snapshot(pod(ended(137, 1, 57), spec=spec), events=BLOCKED, log=log))
    assert one.cause == "unknown"
    assert "loop-blocked" in one.candidates
    assert any("shell" in text for text in one.evidence)


def test_a_server_whose_log_has_only_access_lines_proves_nothing() -> None:
    one = only(snapshot(pod(ended(137, 1, 57)), events=BLOCKED, log=OK * 3))
    assert one.cause == "unknown"


def test_a_later_oom_does_not_hide_the_liveness_kills_before_it() -> None:
    events = [started(1, 61, 121), unhealthy("Liveness", SILENT, 20, 85, 4), killing(25, count=2)]
    last = ended(137, 90, 118, "OOMKilled")
    state = {"running": {"startedAt": stamp(121)}}
    one = only(snapshot(pod(last, state, restarts=3), events=events))
    assert (one.cause, one.confidence) == ("oom", "certain")
    assert one.also == ("loop-blocked",)


@pytest.mark.parametrize("code", [1, 2, 3, 134, 139, 255])
def test_an_exit_status_of_its_own_is_a_crash(code: int) -> None:
    log = "Traceback (most recent call last):\n  File x\nRuntimeError: no database\n"
    events = [started(1, 61), event("BackOff", "Back-off restarting failed container app", 5, 40, 3)]
    one = only(snapshot(pod(ended(code, 1, 3)), events=events, log=log))
    assert (one.cause, one.confidence) == ("crash", "certain")
    assert "log: RuntimeError: no database" in one.evidence


def test_the_first_crash_is_seen_before_any_restart() -> None:
    one = only(snapshot(pod(None, {"terminated": ended(1, 1, 2)}, restarts=0, ready=False), events=[]))
    assert (one.cause, one.restarts, one.exit_code) == ("crash", 0, 1)


def test_a_command_that_does_not_exist_is_a_config_error() -> None:
    last = ended(128, 1, 1, "StartError", 'exec: "uvicron": executable file not found in $PATH')
    one = only(snapshot(pod(last), events=[started(1)]))
    assert one.cause == "config-error"
    assert any("uvicron" in text for text in one.evidence)


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
def test_a_container_that_cannot_be_created_is_a_config_error(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": 'secret "shop" not found'}}
    one = only(snapshot(pod(None, waiting, restarts=0, ready=False), events=[]))
    assert (one.cause, one.confidence) == ("config-error", "certain")
    assert 'secret "shop" not found' in one.evidence


def test_a_volume_that_cannot_be_mounted_is_a_config_error() -> None:
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    events = [event("FailedMount", 'configmap "shop" not found', 1, container="", type="Warning")]
    one = only(snapshot(pod(None, waiting, restarts=0, ready=False), events=events))
    assert (one.cause, one.confidence) == ("config-error", "likely")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_every_way_not_to_get_an_image_is_image_pull(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "not found"}}
    assert only(snapshot(pod(None, waiting, restarts=0, ready=False), events=[])).cause == "image-pull"


def job_pod(**fields: Any) -> dict[str, Any]:
    state = {"terminated": ended(1, 1, 4)}
    top = {"restartPolicy": "Never"}
    owner = ("Job", "import-28")
    return pod(None, state, 0, owner=owner, top=top, status={"phase": "Failed"}, ready=False, **fields)


def test_a_job_that_exits_with_an_error_is_job_failed_and_names_the_job() -> None:
    one = only(snapshot(job_pod(), events=[], log="ValueError: row 7\n"))
    assert (one.cause, one.confidence, one.workload) == ("job-failed", "certain", "job/import-28")
    assert "log: ValueError: row 7" in one.evidence


def test_a_job_killed_for_memory_is_oom() -> None:
    failed = job_pod()
    failed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "OOMKilled"
    assert only(snapshot(failed, events=[])).cause == "oom"


def test_a_job_pod_that_is_gone_is_told_from_its_events() -> None:
    events = [
        event("SuccessfulCreate", "Created pod: import-28-abcde", 0, kind="Job", name="import-28", container=""),
        started(1),
        event("BackoffLimitExceeded", "Job has reached the specified backoff limit", 9, kind="Job", name="import-28"),
    ]
    for one in events[1:2]:
        one["involvedObject"]["name"] = "import-28-abcde"
    found = only(snapshot(events=events))
    assert (found.cause, found.gone, found.workload) == ("job-failed", True, "job/import-28")


def test_a_job_that_is_done_is_healthy() -> None:
    done = pod(None, {"terminated": ended(0, 1, 9)}, 0, owner=("Job", "import-28"), top={"restartPolicy": "Never"})
    assert only(snapshot(done, events=[])).cause == "healthy"


def test_a_readiness_probe_alone_that_hung_is_a_blocked_loop_nobody_was_killed_for() -> None:
    spec = {"livenessProbe": None, "readinessProbe": http(failureThreshold=1)}
    events = [started(1), unhealthy("Readiness", REFUSED, 1, 2, 2), unhealthy("Readiness", SILENT, 20, 30, 4)]
    for ready in (False, True):
        one = only(snapshot(pod(restarts=0, spec=spec, ready=ready), events=events))
        assert (one.cause, one.confidence, one.restarts) == ("loop-blocked-readiness", "likely", 0)


def test_a_readiness_probe_that_hung_under_a_low_cpu_limit_is_open() -> None:
    spec = {"livenessProbe": None, "readinessProbe": http(), "resources": {"limits": {"cpu": "100m"}}}
    events = [started(1), unhealthy("Readiness", SILENT, 20, 30, 4)]
    one = only(snapshot(pod(restarts=0, spec=spec), events=events))
    assert one.cause == "unknown"
    assert "cpu-throttled" in one.candidates


def test_refusals_in_the_first_second_of_a_start_are_no_fault() -> None:
    spec = {"readinessProbe": http()}
    events = [started(1), unhealthy("Readiness", REFUSED, 1, 3, 3)]
    assert only(snapshot(pod(restarts=0, spec=spec), events=events)).cause == "healthy"


def test_a_start_killed_by_the_liveness_probe_is_slow_start() -> None:
    events = [started(1, 61), unhealthy("Liveness", REFUSED, 6, 11, 2), killing(11)]
    one = only(snapshot(pod(ended(137, 1, 41)), events=events, log="loading model ...\n"))
    assert (one.cause, one.confidence) == ("slow-start", "likely")


def test_a_port_nobody_listens_on_is_probe_misconfigured_when_the_log_names_another() -> None:
    events = [started(1, 61), unhealthy("Liveness", REFUSED, 6, 11, 2), killing(11)]
    spec = {"livenessProbe": http(port=8080)}
    one = only(snapshot(pod(ended(0, 1, 12), spec=spec), events=events, log=UVICORN + SHUT))
    assert (one.cause, one.confidence) == ("probe-misconfigured", "certain")
    assert "8000" in one.next


def test_a_server_that_listens_on_loopback_only_is_probe_misconfigured() -> None:
    events = [started(1, 61), unhealthy("Liveness", REFUSED, 6, 11, 2), killing(11)]
    log = UVICORN.replace("0.0.0.0", "127.0.0.1") + SHUT
    one = only(snapshot(pod(ended(0, 1, 12)), events=events, log=log))
    assert one.cause == "probe-misconfigured"
    assert "0.0.0.0" in one.next


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("HTTP probe failed with statuscode: 404", "probe-misconfigured"),
        ("HTTP probe failed with statuscode: 401", "probe-misconfigured"),
        ("HTTP probe failed with statuscode: 400", "probe-misconfigured"),
        ("HTTP probe failed with statuscode: 500", "health-says-no"),
        ("HTTP probe failed with statuscode: 503", "health-says-no"),
        ("HTTP probe failed with statuscode: 429", "health-says-no"),
        ("curl: (22) The requested URL returned error: 404", "probe-misconfigured"),
        ("curl: (22) The requested URL returned error: 503", "health-says-no"),
        ('service unhealthy (responded with "NOT_SERVING")', "health-says-no"),
        ("http: server gave HTTP response to HTTPS client", "probe-misconfigured"),
    ],
)
def test_an_answered_probe_says_itself_what_is_wrong(text: str, cause: str) -> None:
    events = [started(1, 61), unhealthy("Liveness", text, 20, 25, 2), killing(25)]
    one = only(snapshot(pod(ended(0, 1, 26)), events=events))
    assert (one.cause, one.confidence) == (cause, "certain")


@pytest.mark.parametrize(
    "text",
    [
        SILENT,
        'command timed out: "curl -f localhost:8000/health" timed out after 2s',
        "curl: (28) Operation timed out after 1001 milliseconds",
        'timeout: failed to connect service "10.0.0.9:50051" within 1s: context deadline exceeded',
        'Get "http://10.0.0.9:8000/health": net/http: request canceled while waiting for connection '
        "(Client.Timeout exceeded while awaiting headers)",
    ],
)
def test_every_way_to_get_no_answer_is_judged_by_the_log(text: str) -> None:
    events = [started(1, 61), unhealthy("Liveness", text, 20, 25, 2), killing(25)]
    one = only(snapshot(pod(ended(137, 1, 55)), events=events, log=UVICORN + OK * 3))
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")


def test_a_startup_probe_answered_404_is_not_a_slow_start() -> None:
    spec = {"startupProbe": http(path="/wrong")}
    text = "HTTP probe failed with statuscode: 404"
    events = [started(1, 61), unhealthy("Startup", text, 2, 11, 3), killing(11, probe="startup")]
    assert only(snapshot(pod(ended(0, 1, 12), spec=spec), events=events)).cause == "probe-misconfigured"


def test_a_start_within_its_budget_is_healthy_and_one_near_its_end_is_slow() -> None:
    spec = {"startupProbe": http(failureThreshold=30, periodSeconds=1)}
    for count, cause in ((9, "healthy"), (20, "slow-start")):
        events = [started(1), unhealthy("Startup", REFUSED, 2, 1 + count, count)]
        one = only(snapshot(pod(restarts=0, spec=spec, ready=False, started=False), events=events))
        assert one.cause == cause


def test_an_old_server_words_its_kills_otherwise() -> None:
    text = "Killing container with id docker://app:Container failed liveness probe.. Container will be killed"
    events = [started(1, 61), unhealthy("Liveness", SILENT, 20, 25, 2), event("Killing", text, 25)]
    one = only(snapshot(pod(ended(137, 1, 55)), events=events, log=UVICORN + OK * 3))
    assert one.cause == "loop-blocked"


def test_a_pod_that_may_not_restart_is_stopped_by_its_liveness_probe_all_the_same() -> None:
    events = [started(1), unhealthy("Liveness", SILENT, 20, 25, 2), event("Killing", "Stopping container app", 25)]
    dead = pod(None, {"terminated": ended(137, 1, 55)}, 0, top={"restartPolicy": "Never"}, status={"phase": "Failed"})
    one = only(snapshot(dead, events=events, log=UVICORN + OK * 3))
    assert one.cause == "loop-blocked"


def test_kills_beyond_the_event_budget_are_likely_at_most() -> None:
    events = [
        started(1, 61),
        event("Created", "Container created", 1, 61, 30),
        unhealthy("Liveness", "HTTP probe failed with statuscode: 404", 20, 200, 9),
        killing(205, count=6),
    ]
    last = ended(0, 900, 912)
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    one = only(snapshot(pod(last, state, restarts=9), events=events))
    assert (one.cause, one.confidence) == ("probe-misconfigured", "likely")
    assert any("budget" in text for text in one.evidence)


def test_sigkill_from_elsewhere_is_unknown_with_memory_first() -> None:
    events = [event("Scheduled", "assigned", 0, container=""), started(1, 61)]
    one = only(snapshot(pod(ended(137, 1, 60)), events=events, log=UVICORN + OK * 11))
    assert one.cause == "unknown"
    assert one.candidates[0] == "oom"


def test_a_kubelet_that_came_back_restarted_nothing() -> None:
    events = [event("NodeNotReady", "Node is not ready", 600, container="", type="Warning", uid="")]
    healthy = pod(
        restarts=0, status={"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(660)}]}
    )
    one = only(snapshot(healthy, events=events))
    assert (one.cause, one.confidence) == ("kubelet-restart", "likely")


def test_a_kubelet_that_says_it_started_is_certain() -> None:
    events = [event("Starting", "Starting kubelet.", 600, kind="Node", name="node-1", container="")]
    one = only(snapshot(pod(restarts=0), events=events))
    assert (one.cause, one.confidence) == ("kubelet-restart", "certain")


def test_a_lost_container_status_is_a_node_restart_even_without_events() -> None:
    one = only(snapshot(pod(ended(255, 1, 60, "Unknown")), events=[]))
    assert (one.cause, one.confidence) == ("node-restart", "likely")


def test_an_evicted_pod_is_deleted_and_says_why() -> None:
    evicted = pod(
        restarts=0, status={"phase": "Failed", "reason": "Evicted", "message": "low on resource: memory"}, ready=False
    )
    one = only(snapshot(evicted, events=[]))
    assert one.cause == "deleted"
    assert any("low on resource" in text for text in one.evidence)


def test_a_rollout_that_removes_a_pod_is_named() -> None:
    leaving = pod(restarts=0, meta={"deletionTimestamp": stamp(90)})
    events = [
        event("Killing", "Stopping container app", 60),
        event("SuccessfulDelete", "Deleted pod: shop-api-6d4f-x2k4", 60, kind="ReplicaSet", name="shop-api-6d4f"),
    ]
    one = only(snapshot(leaving, events=events))
    assert one.cause == "deleted"
    assert any("rollout" in text for text in one.evidence)


def test_a_pod_being_deleted_keeps_the_cause_of_its_restarts() -> None:
    leaving = pod(ended(137, 1, 30, "OOMKilled"), meta={"deletionTimestamp": stamp(90)})
    one = only(snapshot(leaving, events=[]))
    assert (one.cause, one.also) == ("oom", ("deleted",))


def test_a_second_worker_that_hides_a_block_is_named() -> None:
    for spec in ({"args": ["--workers", "4"]}, {"env": [{"name": "WEB_CONCURRENCY", "value": "4"}]}):
        one = only(snapshot(pod(restarts=0, spec=spec), events=[started(1)]))
        assert (one.cause, one.confidence) == ("healthy", "likely")
        assert any("4 workers" in text for text in one.evidence)


def test_an_init_container_that_crashes_is_a_crash_and_one_that_is_done_is_healthy() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    one = only(snapshot(pod(ended(1, 1, 2), waiting, kind="init", ready=False), events=[]))
    assert (one.cause, one.kind) == ("crash", "init")
    done = pod(None, {"terminated": ended(0, 1, 2)}, 0, kind="init")
    assert only(snapshot(done, events=[])).cause == "healthy"


def test_a_sidecar_killed_by_its_liveness_probe_is_explained_like_any_other() -> None:
    spec = {"restartPolicy": "Always"}
    kill = event("Killing", "Init container app failed liveness probe", 25)
    for one in (kill, events := unhealthy("Liveness", SILENT, 20, 25, 2)):
        one["involvedObject"]["fieldPath"] = "spec.initContainers{app}"
    found = only(snapshot(pod(ended(137, 1, 55), spec=spec, kind="init"), events=[kill, events], log=UVICORN + OK * 2))
    assert (found.cause, found.kind) == ("loop-blocked", "sidecar")


def test_the_recorders_own_line_is_decoded_wherever_it_stands() -> None:
    record = {
        "schema": 1,
        "event": "stall_update",
        "duration_s": 6.41,
        "route": "POST /invoices",
        "site": {"path": "app/billing.py", "line": 88, "function": "render"},
        "blame": "code",
        "rule": "UNS102",
    }
    text = 'cut off {"schema": 1, "ev\nINFO:     x\n' + json.dumps(record) + "\n"
    one = only(snapshot(pod(ended(137, 1, 55, message=text)), events=None))
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    assert one.stall is not None
    assert (one.stall.seconds, one.stall.site) == (6.41, "app/billing.py:88 in render")


def test_a_stall_the_environment_is_to_blame_for_is_not_called_a_blocked_loop() -> None:
    record = {"schema": 1, "event": "stall_began", "duration_s": 3.0, "blame": "environment", "route": "GET /a"}
    throttled = {**record, "cause": {"throttled_s": 2.8}}
    message = json.dumps(throttled)
    assert only(snapshot(pod(ended(137, 1, 55, message=message)), events=None)).cause == "cpu-throttled"
    assert only(snapshot(pod(ended(137, 1, 55, message=json.dumps(record))), events=None)).cause == "unknown"


def test_a_message_of_another_program_is_not_taken_for_a_stall() -> None:
    one = only(snapshot(pod(ended(1, 1, 2, message='{"event": "shutdown", "duration_s": 3}')), events=[]))
    assert one.cause == "crash"


def test_throttling_needs_the_log_or_the_counters_beside_the_limit() -> None:
    spec = {"resources": {"limits": {"cpu": "200m"}}}
    killed = pod(ended(137, 1, 57), spec=spec)
    log = UVICORN + OK + SHUT
    likely = only(snapshot(killed, events=BLOCKED, log=log))
    assert (likely.cause, likely.confidence) == ("cpu-throttled", "likely")
    counted = snapshot(killed, events=BLOCKED, log=log)
    counted = replace(counted, throttling={("shop", "shop-api-6d4f-x2k4"): Throttling(1000, 400)})
    certain = only(counted)
    assert (certain.cause, certain.confidence) == ("cpu-throttled", "certain")
    assert any("400 of 1,000 periods" in text for text in certain.evidence)


def test_two_pods_of_one_name_are_told_apart_by_uid() -> None:
    older = event("Killing", "Container app failed liveness probe, will be restarted", 5, uid="u0")
    found = diagnose(snapshot(pod(restarts=0), events=[older, started(1)]))
    assert {one.gone: one.cause for one in found} == {False: "healthy", True: "unknown"}


def test_logs_are_asked_for_where_they_would_tell_and_newest_first() -> None:
    quiet = pod(restarts=0, meta={"name": "quiet", "uid": "u2"})
    early = pod(ended(137, 1, 20), meta={"name": "early", "uid": "u3"})
    late = pod(ended(137, 1, 50), meta={"name": "late", "uid": "u4"})
    wanted = list(logs_wanted(snapshot(quiet, early, late, events=[])))
    assert wanted == [("shop", "late", "app", False), ("shop", "early", "app", False)]


def test_damaged_records_are_read_as_far_as_they_go() -> None:
    bare: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, "?"]}, "status": None}
    [one] = diagnose(snapshot(bare, events=[{"reason": "Killing"}, {"involvedObject": None}]))
    assert (one.pod, one.container, one.restarts) == ("p", "a", 0)


def test_a_short_stall_told_long_before_does_not_explain_a_full_thread_pool() -> None:
    told = "WARNING unstall  event loop blocked  0.15 s so far  GET /a  app/a.py:8 in load  time.sleep  UNS101: x\n"
    wait = "INFO:     Shutting down\nINFO:     Waiting for connections to close. (CTRL+C to force quit)\n"
    one = only(snapshot(pod(ended(137, 1, 57)), events=BLOCKED, log=UVICORN + told + OK * 3 + wait))
    assert (one.cause, one.stall) == ("threadpool-exhausted", None)


def test_a_long_stall_told_last_in_the_log_proves_the_block() -> None:
    told = "WARNING unstall  event loop blocked (and 3 more here since the last line)  8.20 s so far  GET /a  a.py:8 in load\n"
    one = only(snapshot(pod(ended(0, 1, 40)), events=BLOCKED, log=UVICORN + OK + told + HELLO + SHUT))
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    assert one.stall is not None
    assert (one.stall.seconds, one.stall.route, one.stall.site) == (8.2, "GET /a", "a.py:8 in load")


def test_a_crash_in_the_middle_of_a_stall_is_a_crash() -> None:
    message = json.dumps({"unstall": "event loop blocked", "event": "killed", "duration_s": 0.4, "route": "GET /a"})
    one = only(snapshot(pod(ended(139, 1, 20, message=message)), events=[started(1, 61)]))
    assert one.cause == "crash"
    assert "termination message: loop blocked 400 ms  GET /a" in one.evidence


def test_what_watch_leaves_in_the_termination_message_is_what_is_decoded(tmp_path: Path) -> None:
    place = tmp_path / "termination-log"
    place.touch()
    record = {
        "event": "stall_update",
        "duration_s": 31.04,
        "route": "POST /invoices",
        "site": {"path": "app/billing.py", "line": 88, "function": "render"},
        "call": "requests.post",
        "stack": [{"path": "app/billing.py", "line": 88, "function": "render", "own": True}],
        "blame": "code",
    }
    TerminationMessage(str(place)).put(record)
    one = only(snapshot(pod(ended(0, 1, 55, message=place.read_text(encoding="utf-8"))), events=None))
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    assert str(one.stall) == "loop blocked 31.0 s  POST /invoices  app/billing.py:88 in render  requests.post"


def test_a_pod_that_came_and_went_without_trouble_is_left_out() -> None:
    events = [event("Scheduled", "assigned", 0, container=""), started(1)]
    assert diagnose(snapshot(events=events)) == []


def test_a_pod_that_kept_failing_and_is_gone_is_open() -> None:
    events = [started(1, 20, 40), event("BackOff", "Back-off restarting failed container app in pod x", 5, 45, 6)]
    one = only(snapshot(events=events))
    assert (one.cause, one.gone, one.restarts) == ("unknown", True, 2)
    assert one.candidates[0] == "crash"


def test_a_log_whose_beginning_is_cut_off_still_shows_that_sigterm_was_never_handled() -> None:
    one = only(snapshot(pod(ended(137, 1, 57)), events=BLOCKED, log=OK * 2000))
    assert (one.cause, one.confidence) == ("loop-blocked", "likely")


def test_a_kill_that_is_going_on_says_when_to_look_again() -> None:
    events = [started(1), unhealthy("Liveness", SILENT, 20, 25, 2), killing(25)]
    one = only(snapshot(pod(restarts=0), events=events))
    assert (one.cause, one.next) == ("unknown", "look again in 30 s, when the grace is over: the log will tell")
