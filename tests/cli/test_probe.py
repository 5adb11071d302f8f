"""`unstall probe` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unstall.cli import main

DEPLOY = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: web:1
        livenessProbe:
          httpGet: {path: /health, port: 8000}
        readinessProbe:
          httpGet: {path: /health, port: 8000}
"""


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.yaml"
    path.write_text(DEPLOY, encoding="utf-8")
    return path


def run(*words: object, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ["probe", *map(str, words)], input=given)


def test_the_odds_of_one_block_are_one_line(deploy: Path) -> None:
    done = run(deploy, "--block", "25s")
    assert done.exit_code == 0, done.output
    assert "  restart probability per 25.0 s block: 0.40" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "told"), [("25", "25.0 s"), ("500ms", "0.5 s"), ("1m30s", "90.0 s"), ("1min", "60.0 s")]
)
def test_lengths_are_read_as_people_write_them(deploy: Path, text: str, told: str) -> None:
    assert f"restart probability per {told} block" in run(deploy, "--block", text).stdout


def test_without_stalls_a_curve_answers_what_if_and_findings_set_the_exit_status(deploy: Path) -> None:
    done = run(deploy)
    assert done.exit_code == 1
    assert f"{deploy}:12  UNS301  liveness timeout is the 1 s default" in done.stdout
    assert f"{deploy}:12  UNS302  liveness and readiness ask the same path with the same patience" in done.stdout
    assert "UNS304  no startup probe: a start slower than 30 s is killed before it is ready" in done.stdout
    assert "survives every block up to 21.0 s; finds a dead pod within 31.0 s" in done.stdout
    assert "restart probability per 45.0 s block: 1.00" in done.stdout


def record(path: Path, *lengths: float, watched_s: float | None = None) -> Path:
    lines = [
        {"schema": 1, "event": "stall_ended", "host": "h", "pid": 1, "started_at": float(i), "duration_s": length}
        for i, length in enumerate(lengths)
    ]
    if watched_s is not None:
        lines.append({"schema": 1, "event": "alive", "host": "h", "pid": 1, "watched_s": watched_s})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_recorded_stalls_give_rates_an_interval_and_a_suggestion(deploy: Path, tmp_path: Path) -> None:
    stalls = record(tmp_path / "stalls.jsonl", *[25.0] * 10, watched_s=86400.0)
    done = run(deploy, "--stalls", stalls, "--output-format", "json")
    [one] = json.loads(done.stdout)["containers"]
    now, *others = one["settings"]
    assert now["restarts_per_pod_day"]["value"] == pytest.approx(4.0)
    assert now["restarts_per_pod_day"]["low"] < 4.0 < now["restarts_per_pod_day"]["high"]
    assert now["not_ready_share"] > 0
    [chosen] = [row for row in others if row["suggested"]]
    assert chosen["restarts_per_stall"] == 0
    assert "<- suggested" in run(deploy, "--stalls", stalls).stdout


def test_stalls_without_a_watched_time_give_odds_never_rates(deploy: Path, tmp_path: Path) -> None:
    done = run(deploy, "--stalls", record(tmp_path / "s.jsonl", 25.0))
    assert "odds per stall, no rates" in done.stdout
    assert "per pod and day" not in done.stdout


def test_write_changes_the_manifest_and_the_odds_are_gone(deploy: Path) -> None:
    done = run(deploy, "--block", "25s", "--write")
    assert done.exit_code == 0, done.output
    assert "2 lines changed" in done.stdout
    assert "restart probability per 25.0 s block: 0.00" in run(deploy, "--block", "25s").stdout
    assert "no recorded stall can restart" in run(deploy, "--block", "25s", "--write").stdout


def test_a_manifest_from_standard_input_gets_a_patch_in_place_of_a_change() -> None:
    done = run("-", "--block", "25s", "--write", given=DEPLOY)
    assert "not changed: it came from standard input" in done.stderr
    assert "livenessProbe:" in done.stdout
    assert "name: web" in done.stdout


def other(text: str, by: str) -> str:
    assert text in DEPLOY
    return DEPLOY.replace(text, by)


LIVENESS = "        livenessProbe:\n          httpGet: {path: /health, port: 8000}\n"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("UNS303", other("/health, port: 8000}\n        readiness", "/ready, port: 8000}\n        readiness")),
        (
            "UNS305",
            other("httpGet: {path: /health, port: 8000}\n        readiness", "tcpSocket: {port: 1}\n        readiness"),
        ),
        (
            "UNS306",
            other("httpGet: {path: /health, port: 8000}\n        readiness", "exec: {command: [a]}\n        readiness"),
        ),
        ("UNS307", other(LIVENESS, LIVENESS + "          timeoutSeconds: 20\n")),
        ("UNS310", other("port: 8000}\n        readiness", "port: web}\n        readiness")),
        ("UNS311", other("image: web:1", "image: web:1\n        resources: {limits: {cpu: 200m}}")),
        ("UNS312", other("image: web:1", 'image: web:1\n        command: ["uvicorn", "a:b", "--workers", "4"]')),
        ("UNS313", other("image: web:1", 'image: web:1\n        command: ["sh", "-c", "uvicorn a:b"]')),
        ("UNS314", DEPLOY),
    ],
)
def test_each_rule_fires_on_its_manifest_and_not_on_the_plain_one(rule: str, text: str) -> None:
    assert rule in run("-", given=text).stdout
    calm = text if rule == "UNS314" else DEPLOY
    calm = calm.replace("image: web:1", "image: web:1\n        terminationMessagePolicy: FallbackToLogsOnError", 1)
    assert rule not in run("-", given=calm).stdout


def test_a_grace_shorter_than_the_longest_stall_is_reported() -> None:
    assert (
        "UNS308  grace 30 s is shorter than the longest stall, 45.0 s"
        in run("-", "--block", "45s", given=DEPLOY).stdout
    )
    assert "UNS308" not in run("-", "--block", "25s", given=DEPLOY).stdout


def test_a_tcp_probe_is_said_to_hide_blocks() -> None:
    text = other("httpGet: {path: /health, port: 8000}\n        readiness", "tcpSocket: {port: 1}\n        readiness")
    assert "it passes on a blocked loop" in run("-", "--block", "60s", given=text).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--block", "soon"], "is not a length of time"),
        (["--blocks-per-hour", "2"], "--blocks-per-hour needs --block"),
        (["--write"], "--write and --patch need stalls"),
        (["--container", "nosuch", "--block", "25s"], "there are: web/app"),
        (["--stalls", "nosuch.jsonl"], "cannot read nosuch.jsonl"),
    ],
)
def test_bad_input_names_what_to_change(deploy: Path, words: list[str], told: str) -> None:
    done = run(deploy, *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_file_without_a_pod_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", encoding="utf-8")
    done = run(path)
    assert done.exit_code == 2
    assert "has no pod in it: only ConfigMap" in done.stderr
