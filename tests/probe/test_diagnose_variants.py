"""Scenarios the recorded cluster did not have, made from its records with one thing changed at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from unstall.probe import cluster, recorded
from unstall.probe.cluster import Snapshot
from unstall.probe.diagnose import Diagnosis, diagnose
from unstall.probe.opinion import CAUSES

SCENARIOS = Path(__file__).parent.parent / "cluster" / "scenarios"
Json = dict[str, Any]


@dataclass
class Records:
    """One recorded moment as plain data, free to be changed."""

    pods: Json
    events: Json
    logs: str

    @property
    def pod(self) -> Json:
        """The first pod."""
        one: Json = self.pods["items"][0]
        return one

    @property
    def container(self) -> Json:
        """The first container's description."""
        one: Json = self.pod["spec"]["containers"][0]
        return one

    @property
    def status(self) -> Json:
        """The first container's status."""
        one: Json = self.pod["status"]["containerStatuses"][0]
        return one

    def each(self, change: Callable[[Json], object], reason: str = "") -> None:
        """Change every event, or those of one reason."""
        for event in self.events["items"]:
            if not reason or event["reason"] == reason:
                change(event)


def records(name: str, moment: str) -> Records:
    folder = next(SCENARIOS.glob(f"{name}-*"))
    read = {kind: json.loads((folder / f"{kind}-{moment}.json").read_text()) for kind in ("pods", "events")}
    return Records(read["pods"], read["events"], (folder / f"logs-previous-{moment}.txt").read_text())


def look(made: Records, folder: Path) -> Snapshot:
    (folder / "pods-0.json").write_text(json.dumps(made.pods))
    (folder / "events-0.json").write_text(json.dumps(made.events))
    (folder / "logs-previous-0.txt").write_text(made.logs)
    return recorded.look(folder, "0")


def only(made: Records, folder: Path) -> Diagnosis:
    [one] = [one for one in diagnose(look(made, folder)) if not one.gone]
    return one


def message(text: str) -> Callable[[Json], None]:
    """Give the misses of the liveness probe, and of a readiness probe that hung, another text."""

    def change(event: Json) -> None:
        kind, _, said = event["message"].partition(" probe failed: ")
        if said and ("deadline" in said or kind == "Liveness"):
            event["message"] = f"{kind} probe failed: {text}"

    return change


EXEC_HUNG = 'command timed out: "python /app/probe.py" timed out after 1s'
GRPC_HUNG = 'timeout: failed to connect service "10.77.0.155:8000" within 1s: context deadline exceeded'


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        ({"exec": {"command": ["python", "/app/probe.py"]}}, EXEC_HUNG),
        ({"grpc": {"port": 8000, "service": ""}}, GRPC_HUNG),
    ],
)
def test_a_block_under_an_exec_or_grpc_probe_is_told_by_the_log(tmp_path: Path, handler: Json, text: str) -> None:
    made = records("01", "2")
    probe = made.container["livenessProbe"]
    del probe["httpGet"]
    probe.update(handler)
    made.each(message(text))
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    made.logs = ""
    assert only(made, tmp_path).cause in ("unknown", "loop-blocked")
    assert only(made, tmp_path).confidence != "certain"


@pytest.mark.parametrize("handler", [{"exec": {"command": ["/probe"]}}, {"grpc": {"port": 8000}}])
def test_a_clean_shutdown_after_a_probe_of_unknown_words_is_left_open(tmp_path: Path, handler: Json) -> None:
    """What the probe asks is not in the log, so no line of it can be taken for the request that blocked."""
    made = records("03c", "1")
    probe = made.container["livenessProbe"]
    del probe["httpGet"]
    probe.update(handler)
    made.each(message(EXEC_HUNG if "exec" in handler else GRPC_HUNG))
    made.logs = "\n".join(line for line in made.logs.splitlines() if not line.startswith("{")) + "\n"
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert "loop-blocked" in one.candidates
    assert ("probe-misconfigured" in one.candidates) == ("grpc" in handler)


def test_a_file_based_exec_probe_that_fails_is_not_called_a_block(tmp_path: Path) -> None:
    made = records("19", "1")
    made.container["livenessProbe"].pop("httpGet")
    made.container["livenessProbe"]["exec"] = {"command": ["cat", "/tmp/healthy"]}
    made.each(message("cat: can't open '/tmp/healthy': No such file or directory"))
    one = only(made, tmp_path)
    assert (one.cause, one.candidates[0]) == ("unknown", "health-says-no")


def test_a_native_sidecar_is_explained_like_a_container(tmp_path: Path) -> None:
    made = records("01", "2")
    spec, status = made.pod["spec"], made.pod["status"]
    spec["initContainers"] = [{**spec["containers"][0], "restartPolicy": "Always"}]
    status["initContainerStatuses"] = status["containerStatuses"]
    spec["containers"] = [{"name": "main", "image": "main:1"}]
    status["containerStatuses"] = [{"name": "main", "restartCount": 0, "ready": True, "state": {}, "lastState": {}}]

    def change(event: Json) -> None:
        about = event["involvedObject"]
        if about.get("fieldPath"):
            about["fieldPath"] = "spec.initContainers{app}"
        event["message"] = event["message"].replace("Container app failed", "Init container app failed")

    made.each(change)
    found = {one.container: one for one in diagnose(look(made, tmp_path))}
    assert (found["app"].cause, found["app"].kind, found["main"].cause) == ("loop-blocked", "sidecar", "healthy")


def test_events_in_the_new_shape_are_read_alike(tmp_path: Path) -> None:
    made = records("01", "2")

    def change(event: Json) -> None:
        event["regarding"] = event.pop("involvedObject")
        event["note"] = event.pop("message")
        event["deprecatedFirstTimestamp"] = event.pop("firstTimestamp")
        event["deprecatedLastTimestamp"] = event.pop("lastTimestamp")
        event["deprecatedCount"] = event.pop("count", None)

    before = only(made, tmp_path)
    made.each(change)
    after = only(made, tmp_path)
    assert (after.cause, after.confidence, after.evidence) == (before.cause, before.confidence, before.evidence)


def test_an_event_with_a_series_counts_what_the_series_counts(tmp_path: Path) -> None:
    made = records("01", "2")

    def change(event: Json) -> None:
        event["series"] = {"count": event.pop("count"), "lastObservedTime": event["lastTimestamp"][:-1] + ".000000Z"}
        event["eventTime"] = event["firstTimestamp"][:-1] + ".000000Z"
        event["count"] = event["firstTimestamp"] = event["lastTimestamp"] = None

    before = only(made, tmp_path)
    made.each(change, "Unhealthy")
    made.each(change, "Killing")
    assert only(made, tmp_path).evidence == before.evidence


def test_combined_events_are_read_through_their_prefix(tmp_path: Path) -> None:
    made = records("18", "1")
    made.each(lambda e: e.update(message="(combined from similar events): " + e["message"]), "Unhealthy")
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("probe-misconfigured", "certain")


def test_an_evicted_pod_is_deleted_and_never_a_node_restart(tmp_path: Path) -> None:
    made = records("08", "1")
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    made.status["state"] = {"terminated": lost}
    made.pod["status"].update(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("deleted", "certain")
    assert "requests" in one.next


def test_an_evicted_pod_keeps_its_liveness_kills_beside_it(tmp_path: Path) -> None:
    made = records("01", "2")
    made.pod["status"].update(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    one = only(made, tmp_path)
    assert (one.cause, one.also) == ("deleted", ("loop-blocked",))


def test_a_graceful_node_shutdown_is_a_node_restart(tmp_path: Path) -> None:
    made = records("08", "1")
    text = "Pod was terminated in response to imminent node shutdown."
    made.pod["status"].update(phase="Failed", reason="Terminated", message=text)
    assert only(made, tmp_path).cause == "node-restart"


@pytest.mark.parametrize("reason", ["OutOfcpu", "OutOfmemory", "UnexpectedAdmissionError", "NodeAffinity"])
def test_a_pod_its_node_refused_is_not_called_healthy(tmp_path: Path, reason: str) -> None:
    made = records("08", "1")
    made.pod["status"].update(phase="Failed", reason=reason, message="Pod was rejected", containerStatuses=[])
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert any(reason in text for text in one.evidence)


def test_a_pod_removed_through_the_eviction_api_says_by_whom(tmp_path: Path) -> None:
    made = records("26", "1")
    made.pods["items"] = [pod for pod in made.pods["items"] if "deletionTimestamp" in pod["metadata"]]
    made.pod["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API"}
    )
    one = only(made, tmp_path)
    assert one.cause == "deleted"
    assert any("EvictionByEvictionAPI" in text for text in one.evidence)


def test_memory_that_took_a_child_process_is_open_unless_the_node_says_so(tmp_path: Path) -> None:
    made = records("05", "1")
    made.status["lastState"]["terminated"]["reason"] = "Error"
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert one.candidates[0] == "oom"
    finished = made.status["lastState"]["terminated"]["finishedAt"]
    told = copy.deepcopy(made.events["items"][0])
    told.update(
        reason="OOMKilling", message="Memory cgroup out of memory: Killed process 77 (python)", type="Warning", count=1
    )
    told.update(firstTimestamp=finished, lastTimestamp=finished)
    told["involvedObject"] = {"kind": "Node", "name": made.pod["spec"]["nodeName"], "uid": "n"}
    made.events["items"].append(told)
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("oom", "likely")


@pytest.mark.parametrize("name", ["01", "09", "20"])
def test_without_events_and_log_only_candidates_are_left(tmp_path: Path, name: str) -> None:
    made = records(name, "1" if name == "20" else "2")
    made.events["items"], made.logs = [], ""
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert "loop-blocked" in one.candidates
    assert any("events are gone" in text for text in one.evidence)


@pytest.mark.parametrize(("name", "moment"), [("01", "2"), ("05", "2"), ("18", "1")])
def test_a_restart_of_days_ago_is_not_explained_by_the_events_of_today(tmp_path: Path, name: str, moment: str) -> None:
    made = records(name, moment)
    for state in (made.status["state"].get("running"), made.status["lastState"]["terminated"]):
        for key in ("startedAt", "finishedAt"):
            if state and key in state:
                state[key] = state[key].replace("-22T", "-12T")
    made.events["items"] = [e for e in made.events["items"] if e["reason"] == "Unhealthy" and "Readin" in e["message"]]
    one = only(made, tmp_path)
    assert one.confidence != "certain" or one.cause == "oom"
    assert (
        one.cause in {"01": ("loop-blocked", "unknown"), "05": ("oom",), "18": ("probe-misconfigured", "unknown")}[name]
    )


def test_restarts_whose_last_end_was_cleaned_up_are_open_and_say_so(tmp_path: Path) -> None:
    made = records("01", "2")
    made.status["lastState"], made.events["items"], made.logs = {}, [], ""
    one = only(made, tmp_path)
    assert one.cause == "unknown" and one.candidates
    assert any("cleaned" in text for text in one.evidence)


def test_an_old_kill_of_a_pod_without_a_last_state_is_not_taken_for_one_that_goes_on(tmp_path: Path) -> None:
    made = records("01", "2")
    made.status["lastState"] = {}
    one = only(made, tmp_path)
    assert not any("going on" in text for text in one.evidence)


def test_a_failing_hook_is_a_config_error_and_not_a_kill_from_nowhere(tmp_path: Path) -> None:
    made = records("05", "1")
    end = made.status["lastState"]["terminated"]
    end["reason"] = "Error"
    for reason, text in (
        ("FailedPostStartHook", "PostStartHook failed"),
        ("Killing", "FailedPostStartHook"),
    ):
        event = copy.deepcopy(next(e for e in made.events["items"] if e["reason"] == "Started"))
        event.update(reason=reason, message=text, firstTimestamp=end["finishedAt"], lastTimestamp=end["finishedAt"])
        made.events["items"].append(event)
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("config-error", "likely")
    assert "postStart" in one.next


def test_a_changed_definition_is_no_probe(tmp_path: Path) -> None:
    made = records("12b", "2")
    end = made.status["lastState"]["terminated"]
    event = copy.deepcopy(next(e for e in made.events["items"] if e["reason"] == "Started"))
    event.update(reason="Killing", message="Container app definition changed, will be restarted")
    event.update(firstTimestamp=end["finishedAt"], lastTimestamp=end["finishedAt"])
    made.events["items"].append(event)
    one = only(made, tmp_path)
    assert one.cause == "sigterm-not-by-probe"
    assert any("definition changed" in text for text in one.evidence)


@pytest.mark.parametrize("code", [0, 143])
def test_sigterm_from_inside_reads_alike_with_either_exit_status(tmp_path: Path, code: int) -> None:
    made = records("12b", "2")
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = code, "Error" if code else "Completed"
    assert only(made, tmp_path).cause == "sigterm-not-by-probe"


def test_a_liveness_kill_that_ends_with_143_is_still_a_liveness_kill(tmp_path: Path) -> None:
    made = records("03c", "1")
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = 143, "Error"
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")


def test_a_reboot_that_ended_it_by_a_signal_is_a_node_restart(tmp_path: Path) -> None:
    made = records("21", "1")
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = 137, "Error"
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("node-restart", "likely")


def as_job(made: Records, policy: str) -> None:
    made.pod["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "nightly-28", "controller": True}]
    made.pod["metadata"]["labels"].pop("pod-template-hash", None)
    made.pod["spec"]["restartPolicy"] = policy


def test_a_job_that_ended_well_after_two_failures_tells_of_the_failures(tmp_path: Path) -> None:
    made = records("05", "1")
    as_job(made, "OnFailure")
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = 1, "Error"
    made.status["state"] = {"terminated": {**end, "exitCode": 0, "reason": "Completed"}}
    made.pod["status"]["phase"] = "Succeeded"
    one = only(made, tmp_path)
    assert (one.cause, one.exit_code, one.workload) == ("job-failed", 1, "job/nightly-28")


def test_a_job_beyond_its_deadline_is_job_failed(tmp_path: Path) -> None:
    made = records("08", "1")
    as_job(made, "Never")
    text = "Pod was active on the node longer than the specified deadline"
    made.pod["status"].update(phase="Failed", reason="DeadlineExceeded", message=text)
    made.status["state"] = {"terminated": {"exitCode": 143, "reason": "Error"}}
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("job-failed", "certain")
    assert "activeDeadlineSeconds" in one.next


def test_a_job_that_is_done_is_healthy(tmp_path: Path) -> None:
    made = records("08", "1")
    as_job(made, "Never")
    made.pod["status"]["phase"] = "Succeeded"
    made.status["state"] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    assert only(made, tmp_path).cause == "healthy"


def test_an_init_container_that_needed_a_second_try_is_a_crash_that_is_over(tmp_path: Path) -> None:
    made = records("08", "1")
    made.pod["spec"]["initContainers"] = [{"name": "migrate", "image": "m:1"}]
    ended = {"exitCode": 0, "reason": "Completed"}
    made.pod["status"]["initContainerStatuses"] = [
        {
            "name": "migrate",
            "restartCount": 1,
            "ready": True,
            "state": {"terminated": ended},
            "lastState": {"terminated": {**ended, "exitCode": 1, "reason": "Error"}},
        }
    ]
    found = {one.container: one.cause for one in diagnose(look(made, tmp_path))}
    assert found == {"migrate": "crash", "app": "healthy"}


def test_a_sandbox_that_cannot_be_made_is_not_healthy(tmp_path: Path) -> None:
    made = records("08", "0")
    made.status.update(state={"waiting": {"reason": "ContainerCreating"}}, ready=False, started=False)
    event = copy.deepcopy(made.events["items"][0])
    event.update(reason="FailedCreatePodSandBox", message="failed to set up network", type="Warning")
    made.events["items"] = [event]
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert any("failed to set up network" in text for text in one.evidence)


def test_gunicorns_own_master_does_not_prove_that_the_workers_loop_turned(tmp_path: Path) -> None:
    made = records("01", "2")
    made.logs = (
        made.logs.replace("[1]", "[8]").rstrip("\n")
        + "\n[2026-11-22 14:06:32 +0000] [1] [INFO] Shutting down: Master\n"
    )
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("loop-blocked", "likely")


def test_one_pod_by_itself_is_read_like_a_list_of_one(tmp_path: Path) -> None:
    made = records("05", "1")
    made.pods = made.pod
    assert only(made, tmp_path).cause == "oom"


def test_a_silent_readiness_probe_in_the_first_seconds_is_left_open(tmp_path: Path) -> None:
    """A server that opens its port before its workers are up answers late, not never."""
    made = records("26", "0")
    for pod in made.pods["items"]:
        pod["status"]["containerStatuses"][0]["ready"] = False
    started = made.status["state"]["running"]["startedAt"]
    hung = copy.deepcopy(made.events["items"][-1])
    hung.update(reason="Unhealthy", type="Warning", count=2, firstTimestamp=started, lastTimestamp=started)
    hung["message"] = 'Readiness probe failed: Get "http://10.0.0.9:8000/health": context deadline exceeded'
    hung["involvedObject"] = {**hung["involvedObject"], "kind": "Pod", "name": made.pod["metadata"]["name"]}
    hung["involvedObject"].update(uid=made.pod["metadata"]["uid"], fieldPath="spec.containers{app}")
    made.events["items"] = [hung]
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert set(one.candidates) == {"slow-start", "loop-blocked-readiness"}


def test_missing_and_damaged_side_files_are_gaps_and_the_pods_are_read_all_the_same(tmp_path: Path) -> None:
    made = records("05", "1")
    look(made, tmp_path)
    (tmp_path / "events-0.json").write_text("")
    (tmp_path / "replicasets-0.json").write_text("Error from server (Forbidden): no")
    (tmp_path / "logs-previous-0.txt").unlink()
    snapshot = recorded.look(tmp_path, None)
    assert [one.cause for one in diagnose(snapshot)] == ["oom"]
    assert any(gap.startswith("events: ") and "events-0.json" in gap for gap in snapshot.gaps)
    assert any("logs-previous-0.txt" in gap for gap in snapshot.gaps)


REFUSED = 'Get "http://10.0.0.9:9000/health": dial tcp 10.0.0.9:9000: connect: connection refused'


def refused(moment: str = "1") -> Records:
    """A liveness probe on a port where nobody listens, of a server that logs nothing."""
    made = records("18", moment)
    made.container["livenessProbe"]["httpGet"]["port"] = 9000
    made.each(message(REFUSED))
    head = made.logs.splitlines()[0]
    made.logs = head + "\n"
    return made


def test_a_wrong_port_of_a_silent_server_is_not_called_a_slow_start(tmp_path: Path) -> None:
    one = only(refused(), tmp_path)
    assert one.cause == "unknown"
    assert set(one.candidates) == {"slow-start", "probe-misconfigured"}


def test_a_pod_that_is_ready_on_another_port_has_a_wrong_liveness_port(tmp_path: Path) -> None:
    made = refused()
    made.status["ready"] = True
    for condition in made.pod["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="True", lastTransitionTime=made.pod["status"]["startTime"])
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("probe-misconfigured", "likely")
    assert "8000" in one.next or "http" in one.next


def test_a_process_that_never_heard_sigterm_was_still_starting(tmp_path: Path) -> None:
    made = refused()
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = 137, "Error"
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("slow-start", "likely")
    made.container["command"] = ["sh", "-c", "python main.py; echo over"]
    assert only(made, tmp_path).cause == "unknown"


def test_a_startup_probe_on_a_wrong_port_is_left_open(tmp_path: Path) -> None:
    made = records("04", "1")
    end = made.status["lastState"]["terminated"]
    end["exitCode"], end["reason"] = 0, "Completed"
    one = only(made, tmp_path)
    assert one.cause == "unknown" and "slow-start" in one.candidates


def damaged(value: Any, random: Random) -> Any:
    """The same with one thing at a random depth gone, or of another type."""
    if isinstance(value, dict) and value and random.random() < 0.93:
        key = random.choice(list(value))
        return {**value, key: damaged(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.93:
        at = random.randrange(len(value))
        return [*value[:at], damaged(value[at], random), *value[at + 1 :]]
    return random.choice([None, "", 0, -1, "x", [], {}, [None], {"a": None}, True, "2026-11-22T14:06:32Z", 1e12])


@pytest.mark.parametrize(
    ("name", "moment"), [("01", "2"), ("10", "1"), ("21", "1"), ("25", "2"), ("26", "1"), ("14", "0")]
)
def test_records_with_anything_missing_or_of_another_type_are_read_all_the_same(name: str, moment: str) -> None:
    made = records(name, moment)
    for number in range(100):
        random = Random(f"{name} {number}")
        pods, events = made.pods, made.events
        for _ in range(random.randrange(1, 6)):
            pods = {**pods, "items": [damaged(pod, random) for pod in pods["items"]]}
            events = {**events, "items": [damaged(event, random) for event in events["items"]]}
        snapshot = Snapshot(cluster.read_pods(pods), cluster.read_events(events))
        for one in diagnose(snapshot):
            assert one.cause in CAUSES and one.next


def watched(made: Records) -> None:
    """Probes that ask the observer, and a command that starts it."""
    made.container["command"] = ["unstall", "run", "--health-port", "8099", "--", "uvicorn", "app:app"]
    made.container["ports"].append({"name": "unstall-health", "containerPort": 8099})
    for kind, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/startupz")):
        if kind in made.container:
            made.container[kind]["httpGet"].update(path=path, port="unstall-health")


def test_the_observers_503_is_a_blocked_loop_and_not_the_apps_own_word(tmp_path: Path) -> None:
    made = records("19", "1")
    assert only(made, tmp_path).cause == "health-says-no"
    watched(made)
    one = only(made, tmp_path)
    assert (one.cause, one.confidence) == ("loop-blocked", "certain")
    assert any("observer" in text for text in one.evidence)


def test_the_observers_503_at_the_start_is_a_slow_start(tmp_path: Path) -> None:
    made = records("04", "1")
    made.each(lambda e: e.update(message="Startup probe failed: HTTP probe failed with statuscode: 503"), "Unhealthy")
    assert only(made, tmp_path).cause == "health-says-no"
    watched(made)
    assert (only(made, tmp_path).cause, only(made, tmp_path).confidence) == ("slow-start", "certain")


def test_the_observers_503_to_readiness_names_what_makes_requests_wait(tmp_path: Path) -> None:
    made = records("26", "1")
    made.pods["items"] = [pod for pod in made.pods["items"] if "deletionTimestamp" in pod["metadata"]]
    del made.pod["metadata"]["deletionTimestamp"]
    made.each(lambda e: e.update(message="Readiness probe failed: HTTP probe failed with statuscode: 503"), "Unhealthy")
    made.events["items"] = [e for e in made.events["items"] if e["reason"] != "Killing"]
    watched(made)
    one = only(made, tmp_path)
    assert one.cause == "unknown"
    assert one.candidates == ("loop-blocked-readiness", "threadpool-exhausted", "slow-start")


def test_a_block_under_unstall_run_is_certain_though_the_server_is_not_process_1(tmp_path: Path) -> None:
    made = records("01", "2")
    made.logs = made.logs.replace("[1]", "[7]")
    assert only(made, tmp_path).confidence == "likely"
    made.container["command"] = ["unstall", "run", "--", "uvicorn", "app:app"]
    assert (only(made, tmp_path).cause, only(made, tmp_path).confidence) == ("loop-blocked", "certain")


def test_a_pod_that_a_person_deleted_is_told_of_after_it_is_gone(tmp_path: Path) -> None:
    made = records("26", "2")
    made.events["items"] = [e for e in made.events["items"] if e["reason"] != "Unhealthy"]
    found = {one.gone: one.cause for one in diagnose(look(made, tmp_path))}
    assert found == {True: "deleted", False: "healthy"}
