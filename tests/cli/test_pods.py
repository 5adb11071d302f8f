"""`unstall pods` as a person runs it: a real process, with a kubectl on PATH that replays a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from unstall.cli import main

CLUSTER = Path(__file__).parent.parent / "cluster"
SCENARIOS = CLUSTER / "scenarios"
BLOCKED = SCENARIOS / "01-liveness-blocked-137"
CASES: list[dict[str, Any]] = json.loads((CLUSTER / "errors.json").read_text(encoding="utf-8"))["cases"]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `unstall pods` with the replaying kubectl, a real process, first on PATH."""
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(
        f'#!/bin/sh\nexec {sys.executable} -S -E {CLUSTER / "replay_kubectl.py"} "$@"\n', encoding="utf-8"
    )
    kubectl.chmod(0o755)

    def run(
        *words: str,
        folder: Path = BLOCKED,
        moment: str = "2",
        failures: dict[str, str] | None = None,
        **environment: str,
    ) -> Result:
        told = {
            "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
            "REPLAY_FOLDER": str(folder),
            "REPLAY_MOMENT": moment,
            "REPLAY_ERRORS": str(CLUSTER / "errors.json"),
            "REPLAY_FAILURES": json.dumps(failures or {}),
            "REPLAY_CALLS": str(tmp_path / "calls"),
            **environment,
        }
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(main, ["pods", *words])

    return run


def calls(tmp_path: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tmp_path / "calls").read_text(encoding="utf-8").splitlines()]


def containers(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    rows: list[dict[str, Any]] = answer["containers"]
    return rows


def test_a_live_cluster_is_read_and_the_restarts_are_explained(run: Run, tmp_path: Path) -> None:
    [one] = containers(run("-n", "checkout", "--output-format", "json"))
    assert (one["namespace"], one["container"], one["restarts"]) == ("checkout", "app", 4)
    assert (one["cause"], one["confidence"]) == ("loop-blocked", "certain")
    assert one["evidence"] and one["next"]
    assert one["pod"].startswith("shop-api-")
    asked = calls(tmp_path)
    assert asked[0][:4] == ["get", "pods", "-n", "checkout"]
    logs = [words for words in asked if words[0] == "logs"]
    assert [words[words.index("-c") + 1] for words in logs] == ["app"]


def test_only_reading_commands_are_ever_sent(run: Run, tmp_path: Path) -> None:
    for folder, moment in (
        (BLOCKED, "2"),
        (SCENARIOS / "09-cpu-throttled", "2"),
        (SCENARIOS / "04-startup-killed", "0"),
    ):
        assert run("-A", folder=folder, moment=moment).exit_code == 0
    assert {words[0] for words in calls(tmp_path)} == {"get", "logs"}
    assert all(any(word.startswith("--request-timeout=") for word in words) for words in calls(tmp_path))


def test_context_and_selector_are_handed_to_kubectl(run: Run, tmp_path: Path) -> None:
    assert run("--context", "prod", "--selector", "app=shop-api", "-n", "checkout").exit_code == 0
    asked = calls(tmp_path)
    assert all(words[words.index("--context") + 1] == "prod" for words in asked)
    assert asked[0][asked[0].index("-l") + 1] == "app=shop-api"


def test_throttling_counters_are_read_where_a_cpu_limit_is_set(run: Run, tmp_path: Path) -> None:
    folder = SCENARIOS / "09-cpu-throttled"
    [one] = containers(run("-n", "pdf-render", "--output-format", "json", folder=folder))
    assert (one["cause"], one["confidence"]) == ("cpu-throttled", "certain")
    assert any("559 of 2,131 periods" in text for text in one["evidence"])
    assert ["get", "--raw", "/api/v1/nodes/node-1/proxy/metrics/cadvisor"] in [w[:3] for w in calls(tmp_path)]


def test_without_the_right_to_read_counters_the_log_still_tells(run: Run) -> None:
    folder = SCENARIOS / "09-cpu-throttled"
    done = run("--output-format", "json", folder=folder, failures={"get --raw": "rbac-nodes-proxy-forbidden"})
    [one] = containers(done)
    assert (one["cause"], one["confidence"]) == ("cpu-throttled", "likely")
    assert any("viewer may not get nodes/proxy" in gap for gap in json.loads(done.stdout)["gaps"])


def test_without_the_right_to_read_events_the_rest_is_used_and_said(run: Run) -> None:
    done = run(failures={"get events": "rbac-events-forbidden"})
    assert done.exit_code == 0
    assert "loop-blocked" in done.stdout
    assert "Not read: events: the user viewer may not list events in the namespace checkout" in done.stdout


def test_without_the_right_to_read_logs_the_rest_is_used_and_said(run: Run) -> None:
    failures = {"logs": "rbac-logs-previous-forbidden"}
    done = run(failures=failures, folder=SCENARIOS / "20-threadpool-exhausted", moment="1")
    assert done.exit_code == 0
    assert "unknown" in done.stdout
    assert "candidates: loop-blocked, threadpool-exhausted" in done.stdout
    assert "Not read: logs: the user viewer may not get pods/log in the namespace checkout" in done.stdout


def test_logs_of_a_node_whose_kubelet_is_down_are_a_gap(run: Run) -> None:
    done = run(failures={"logs": "logs-kubelet-down"})
    assert done.exit_code == 0
    assert "Not read: logs: the node's kubelet does not answer" in done.stdout


# The sentence for each way in which reading pods itself fails.
SENTENCES = {
    "rbac-other-namespace-forbidden": "the user viewer may not list pods in the namespace catalog",
    "rbac-all-namespaces-forbidden": "the user viewer may not list pods in all namespaces",
    "namespace-missing-forbidden-user": "the user viewer may not list pods in the namespace nosuch",
    "namespace-missing-get-pod": "there is no namespace nosuch in this cluster",
    "no-kubeconfig-file": "kubectl knows no cluster",
    "no-kubeconfig-at-all": "kubectl knows no cluster",
    "empty-kubeconfig": "kubectl knows no cluster",
    "no-current-context": "kubectl knows no cluster",
    "no-current-context-config": "kubectl has no current context",
    "unknown-context": "there is no context nosuch in the kubeconfig",
    "broken-kubeconfig": "the kubeconfig kubeconfig-broken cannot be read: yaml: line 1",
    "bad-token": "the cluster does not accept your login",
    "tls-unknown-authority": "the API server's certificate is not trusted",
    "auth-plugin-missing": "the login program cloud-auth-plugin of the kubeconfig cannot be used: not found",
    "no-route-to-api-server": "the API server 10.77.0.250:6443 cannot be reached: no route to host",
    "api-server-request-timeout": "the API server did not answer in time",
    "bad-output-format": "this kubectl is too old",
    "unknown-resource": "this API server is too old or does not serve rollouts",
    "logs-kubelet-down": "the node's kubelet does not answer",
    "node-metrics-kubelet-down": "the node's kubelet does not answer",
    "api-server-down": "the API server 127.0.0.1:6443 refuses connections",
    "deployment-missing": 'not found: deployments.apps "nosuch" not found',
}


@pytest.mark.parametrize("case", [case for case in CASES if case["exit_code"]], ids=lambda case: str(case["case"]))
def test_every_kubectl_failure_is_one_clear_sentence_and_exit_2(run: Run, case: dict[str, Any]) -> None:
    done = run("-n", "checkout", failures={"get pods": case["case"]})
    assert done.exit_code == 2
    assert done.stdout == ""
    sentence, *hint = done.stderr.splitlines()
    assert sentence.startswith("unstall: ")
    assert SENTENCES.get(case["case"], "") in sentence
    assert len(hint) == 1 and hint[0].strip()
    for noise in ("memcache.go", "Traceback", "Error from server", "E1122"):
        assert noise not in done.stderr


def test_a_missing_namespace_is_an_error_though_kubectl_lists_it_as_empty(run: Run, tmp_path: Path) -> None:
    failures = {"get pods": "namespace-missing-list", "get namespace": "namespace-missing-get-namespace"}
    done = run("-n", "nosuch", failures=failures)
    assert done.exit_code == 2
    assert "there is no namespace nosuch in this cluster" in done.stderr


def test_an_empty_namespace_is_not_an_error(run: Run) -> None:
    done = run("-n", "checkout", failures={"get pods": "pod-selector-matches-nothing"}, folder=SCENARIOS)
    assert done.exit_code == 0
    assert "there is nothing here" in done.stdout


def test_a_missing_kubectl_is_a_clear_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(PATH=str(tmp_path / "empty"))
    assert done.exit_code == 2
    assert done.stderr.startswith("unstall: kubectl is not on PATH")


def test_a_kubectl_that_hangs_is_given_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unstall.probe.kubectl.EXTRA_S", 0)
    stuck = tmp_path / "stuck" / "kubectl"
    stuck.parent.mkdir()
    stuck.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    stuck.chmod(0o755)
    done = run("--timeout", "1", PATH=f"{stuck.parent}:{os.environ['PATH']}")
    assert done.exit_code == 2
    assert "gave no answer within 2 s" in done.stderr
    assert "--timeout" in done.stderr


def test_an_answer_that_is_not_json_is_a_clear_sentence(run: Run, tmp_path: Path) -> None:
    odd = tmp_path / "odd" / "kubectl"
    odd.parent.mkdir()
    odd.write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    odd.chmod(0o755)
    done = run(PATH=f"{odd.parent}:{os.environ['PATH']}")
    assert done.exit_code == 2
    assert "did not print JSON" in done.stderr


def test_a_recorded_folder_is_read_without_kubectl(run: Run, tmp_path: Path) -> None:
    done = run("--from", str(BLOCKED), "--moment", "after-ttl", "--output-format", "json", PATH=str(tmp_path))
    [one] = containers(done)
    assert (one["cause"], one["confidence"]) == ("loop-blocked", "likely")


def test_without_a_moment_the_last_numbered_one_is_read(run: Run) -> None:
    done = run("--from", str(BLOCKED), "--output-format", "json")
    assert [one["confidence"] for one in containers(done)] == ["certain"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--from", "nosuch"], "there is no such folder"),
        (["--from", str(SCENARIOS)], "there is no pods-K.json in it"),
        (["--from", str(BLOCKED), "--moment", "9"], "moments: 0, 1, 2, 3, after-ttl"),
        (["--moment", "1"], "--moment needs --from"),
        (["--from", str(BLOCKED), "--context", "prod"], "--from reads a recorded folder"),
        (["-A", "-n", "shop"], "-n and -A exclude each other"),
    ],
)
def test_bad_input_names_what_to_change(run: Run, words: list[str], told: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_damaged_record_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pods-0.json").write_text('{"items": [', encoding="utf-8")
    done = run("--from", str(tmp_path))
    assert done.exit_code == 2
    assert "pods-0.json is not JSON" in done.stderr


def test_the_screen_reads_in_order_cause_evidence_next(run: Run) -> None:
    done = run("--from", str(SCENARIOS / "03b-liveness-blocked-termination-log"), "--moment", "1")
    assert done.exit_code == 0
    pod = "shop-api-8b7b88bcf-m2sqz"
    lines = done.stdout.splitlines()
    assert lines[0] == "deployment/shop-api  -n payments   3 restarts in 1 pod: loop-blocked (1)"
    assert lines[1] == f"  {pod} app  3 restarts  2026-11-22 14:06:21"
    assert lines[2] == "    loop-blocked: loop blocked 11.2 s  GET /hello  app/watched.py:15  time.sleep  (certain)"
    assert lines[3].startswith("      - termination message: ")
    assert lines[-3].startswith("    next: mend app/watched.py:15")
    assert lines[-1] == "Looked at 1 container of 1 pod: 1 explained. Times are UTC."


def test_healthy_pods_are_counted_and_a_probe_that_hides_blocks_is_noted(run: Run) -> None:
    done = run("--from", str(SCENARIOS / "15-tcp-liveness-blocked-passes"))
    assert "Note: 1 healthy container: its only probe is TCP port http" in done.stdout
    assert done.stdout.splitlines()[-1] == "Looked at 1 container of 1 pod: none was restarted."


def test_pods_with_the_same_cause_are_told_once(run: Run) -> None:
    done = run("--from", str(SCENARIOS / "25-regression-after-rollout"))
    assert done.stdout.count('no "Shutting down"') == 1
    assert "shop-api-6584bbc855-b8chz app  4 restarts  2026-11-22 14:11:44   the same" in done.stdout


def test_it_runs_as_a_plugin_of_kubectl(tmp_path: Path) -> None:
    for words in (["pods"], []):
        done = subprocess.run(
            [sys.executable, "-c", "from unstall.cli.pods import kubectl_main; kubectl_main()", *words]
            + ["--from", str(BLOCKED)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "loop-blocked" in done.stdout
