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


@pytest.fixture(autouse=True)
def few_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time not ready is not what is looked at here."""
    monkeypatch.setattr("unstall.probe.forecast.PODS", 5)


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
    assert "8 lines changed, container app: liveness 10 s, timeout 10 s, 3 failures; a startup probe" in done.stdout
    after = run(deploy, "--block", "25s").stdout
    assert "restart probability per 25.0 s block: 0.00" in after
    assert "UNS301" not in after and "UNS302" not in after and "UNS304" not in after and "--write" not in after
    assert "Nothing to change" in run(deploy, "--block", "25s", "--write").stdout


def test_without_stalls_write_adds_what_is_missing_and_chooses_no_numbers(deploy: Path) -> None:
    done = run(deploy, "--write")
    assert done.exit_code == 0, done.output
    assert "startupProbe:" in deploy.read_text(encoding="utf-8")
    assert "timeoutSeconds" not in deploy.read_text(encoding="utf-8")


def test_a_manifest_from_standard_input_gets_a_patch_in_place_of_a_change() -> None:
    done = run("-", "--block", "25s", "--write", given=DEPLOY)
    assert done.exit_code == 1
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
        (["--with-watch"], "add --write to write them, or --patch"),
        (["--with-watch", "--write"], ":10: container app: cannot be wrapped: it has no command"),
        (["--app", "nosuch_module:app"], "--app nosuch_module:app: it cannot be imported: ModuleNotFoundError"),
        (["--app", ":"], "that is not an app"),
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


def test_the_screen_ends_with_what_write_would_change(deploy: Path) -> None:
    before = deploy.read_bytes()
    told = run(deploy, "--block", "25s").stdout.splitlines()[-1]
    assert told.startswith("  --write  changes 8 lines for app: liveness 10 s, timeout 10 s, 3 failures; ")
    assert deploy.read_bytes() == before
    shared = DEPLOY.replace("livenessProbe:\n", "livenessProbe: &probe\n")
    shared = shared.replace(
        "readinessProbe:\n          httpGet: {path: /health, port: 8000}\n", "readinessProbe: *probe\n"
    )
    deploy.write_text(shared, encoding="utf-8")
    assert "--patch  prints a patch for app" in run(deploy, "--block", "25s").stdout.splitlines()[-1]
    refused = run(deploy, "--block", "25s", "--write")
    assert refused.exit_code == 1
    assert f"{deploy}:10: container app: not changed: livenessProbe is shared by an anchor" in refused.stderr
    assert "timeoutSeconds: 10" in refused.stdout
    assert deploy.read_text(encoding="utf-8") == shared


def test_the_suggestion_is_in_the_json(deploy: Path) -> None:
    done = json.loads(run(deploy, "--block", "25s", "--output-format", "json").stdout)
    [one] = done["containers"]
    assert one["suggestion"]["patch"]["livenessProbe"] == {"timeoutSeconds": 10}
    assert (one["suggestion"]["lines"], one["suggestion"]["refused"]) == (8, None)
    assert (done["schema"], done["recording"]["stalls"], done["recording"]["watched_s"]) == (1, 1, None)


def test_several_records_add_up_and_what_limits_them_is_said(deploy: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path, host in ((one, "a"), (two, "b")):
        stall = {"event": "stall_ended", "started_at": 5.0, "monotonic": 5.0, "duration_s": 25.0}
        life = {"event": "stopped", "started_at": 0.0, "monotonic": 0.0, "watched_s": 7200.0, "workers": 2}
        cut = {"event": "killed", "started_at": 90.0, "monotonic": 90.0, "duration_s": 30.0}
        records = [{"schema": 1, "host": host, "pid": 7, "threshold_s": 2.0, **more} for more in (stall, life, cut)]
        path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"cut', encoding="utf-8")
    for words in (["--stalls", one, "--stalls", two], ["--stalls", tmp_path]):
        text = run(deploy, *words).stdout
        assert "against 4 stalls in 4 h of watching 2 pods" in text
        assert "2 of them ended with their process: they would have lasted longer." in text
        assert "2 lines of the record could not be read." in text
        assert "Recorded with 2 workers" in text
        assert "Stalls below 2.00 s were not recorded everywhere." in text


def test_a_record_without_a_stall_says_so(deploy: Path, tmp_path: Path) -> None:
    stalls = record(tmp_path / "s.jsonl", watched_s=3600.0)
    assert "no stall was recorded in 1 h of watching one pod" in run(deploy, "--stalls", stalls).stdout


COMMAND = "        image: web:1\n"
WITH_COMMAND = DEPLOY.replace(COMMAND, COMMAND + '        command: ["uvicorn", "shop:app", "--port", "8000"]\n')


def test_with_watch_is_written_and_what_it_needs_is_said(deploy: Path) -> None:
    deploy.write_text(WITH_COMMAND, encoding="utf-8")
    done = run(deploy, "--write", "--with-watch")
    assert done.exit_code == 0, done.output
    assert (
        "readiness and liveness ask the observer on port 8099; the command is wrapped with unstall run" in done.stdout
    )
    assert "The image must have unstall in it (pip install unstall)" in done.stdout
    text = deploy.read_text(encoding="utf-8")
    assert 'command: ["unstall", "run", "--health-port", "8099", "--", "uvicorn", "shop:app"' in text
    assert text.count("port: unstall-health") == 3
    after = run(deploy)
    assert "UNS310" not in after.stdout and "UNS302" not in after.stdout
    assert "Nothing to change" in run(deploy, "--write", "--with-watch").stdout


def test_with_watch_changes_the_container_that_starts_the_app(deploy: Path) -> None:
    side = "      - name: side\n        image: s:1\n        livenessProbe: {tcpSocket: {port: 1}}\n"
    deploy.write_text(WITH_COMMAND + side, encoding="utf-8")
    assert run(deploy, "--write", "--with-watch").exit_code == 0
    assert side in deploy.read_text(encoding="utf-8")
    deploy.write_text(DEPLOY + side, encoding="utf-8")
    done = run(deploy, "--write", "--with-watch")
    assert done.exit_code == 2
    assert "which of these starts the app: app, side?" in done.stderr


APP = """\
from fastapi import Depends, FastAPI

app = FastAPI()


def session():
    return 1


@app.get("/health")
async def health():
    return {}


@app.get("/ready")
async def ready(db=Depends(session)):
    return {}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an app, as the current one."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_app_does_not_have_and_what_needs_a_thread_is_reported(shop: Path) -> None:
    liveness, _, readiness = WITH_COMMAND.partition("        readinessProbe")
    text = liveness.replace("/health", "/nosuch") + "        readinessProbe" + readiness.replace("/health", "/ready")
    done = run("-", "--app", "shop:app", given=text)
    assert "UNS309  readiness asks /ready, whose session is a plain `def`" in done.stdout
    assert "UNS310  liveness asks GET /nosuch, for which shop:app has no route" in done.stdout
    assert done.stdout.count("UNS310") == done.stdout.count("UNS309") == 1


def test_an_app_that_has_what_is_asked_gives_no_finding(shop: Path) -> None:
    done = run("-", "--app", "shop:app", given=WITH_COMMAND)
    assert "UNS309" not in done.stdout and "UNS310" not in done.stdout


def test_of_several_containers_the_one_that_names_the_app_is_looked_at(shop: Path) -> None:
    side = "      - name: side\n        image: s:1\n        livenessProbe: {httpGet: {path: /x, port: 1}}\n"
    assert "UNS310" not in run("-", "--app", "shop:app", given=WITH_COMMAND + side).stdout
    done = run("-", "--app", "shop:app", given=DEPLOY + side)
    assert done.exit_code == 2
    assert "name it with --container: web/app, web/side" in done.stderr


@pytest.mark.parametrize(
    ("port", "more", "reported"),
    [
        ("9000", "", True),
        ("8000", "", False),
        ("9000", "        ports: [{containerPort: 9000}]\n", True),
        ("9000", "        ports: [{containerPort: 8000}, {containerPort: 9000}]\n", False),
        ("web", "        ports: [{name: web, containerPort: 9000}]\n", True),
        ("9000", "      - {name: side, image: s, ports: [{containerPort: 9000}]}\n", False),
        ("9000", "      - {name: side, image: s}\n", False),
    ],
)
def test_a_port_on_which_nobody_listens_is_reported(port: str, more: str, reported: bool) -> None:
    text = WITH_COMMAND.replace(
        "path: /health, port: 8000}\n        readiness", f"path: /health, port: {port}}}\n        readiness"
    )
    done = run("-", given=text + more)
    assert (
        "UNS310  liveness asks port 9000, but the command lets the server listen on port 8000" in done.stdout
    ) == reported


def test_bad_files_are_one_sentence_each(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    texts = {
        "bomb": bomb,
        "tab": "a:\n\tb: 1\n",
        "helm": "a: {{ .Values.x }}\n",
        "list": "- 1\n",
        "empty": "",
        "bytes": "\x00",
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        done = run(path)
        assert done.exit_code == 2, name
        assert str(path) in done.stderr and "Traceback" not in done.stderr
        assert done.stdout == ""


def test_bytes_on_standard_input_are_one_sentence() -> None:
    done = CliRunner().invoke(main, ["probe", "-"], input=b"a: \xff\xfe\n")
    assert done.exit_code == 2
    assert "standard input is not text in UTF-8" in done.stderr


def test_a_record_is_judged_by_its_own_second_half_and_a_what_if_is_not(deploy: Path, tmp_path: Path) -> None:
    stalls = record(tmp_path / "s.jsonl", *[25.0] * 5, *[60.0] * 5, watched_s=86400.0)
    told = "Chosen on the first half of these stalls: 10 s, timeout 10 s, 3 failures; in the second half 1.00 restarts per stall."
    assert told in run(deploy, "--stalls", stalls).stdout
    assert "first half" not in run(deploy, "--block", "25s", "--block", "40s", "--blocks-per-hour", "2").stdout
