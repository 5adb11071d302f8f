"""`unstall check` and `unstall explain` as people and machines read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unstall.cli import main

APP = 'import time\nfrom fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/hello")\nasync def hello():\n    nap()\n\n\ndef nap():\n    time.sleep(1)\n'
CLEAN = "import asyncio\n\n\nasync def hello():\n    await asyncio.sleep(1)\n"


def invoke(*arguments: object) -> Result:
    return CliRunner(env={"NO_COLOR": "1"}).invoke(main, ["check", "--no-cache", *map(str, arguments)])


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_frame_shows_the_line_the_chain_and_what_to_do(app: Path) -> None:
    result = invoke(app)
    assert result.exit_code == 1
    frame = result.output.replace(f"{app}/", "")
    assert frame.splitlines()[:13] == [
        "UNS101 error: blocking sleep on the event loop",
        "  --> app.py:13:5",
        "   |",
        "11 |",
        "12 | def nap():",
        "13 |     time.sleep(1)",
        "   |     ^^^^^^^^^^ time.sleep: sleeps for as long as its argument says",
        "   |",
        "   = reached from  GET /hello        app.py:8  hello",
        "                   └─ nap()          app.py:9",
        "                      └─ time.sleep  app.py:13",
        "   = help: hello: nothing is awaited, so FastAPI may run it in a thread  [fix available]",
        "",
    ]
    assert "Checked 1 file, 2 functions, 1 route" in result.output
    assert "Found 1 blocking call (1 chain)." in result.output


def test_a_clean_project_says_what_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CLEAN)
    result = invoke(tmp_path)
    assert result.exit_code == 0
    assert "Found no blocking call on the event loop." in result.output


def test_notes_are_shown_on_request_and_do_not_fail(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os\nasync def f():\n    os.path.exists('x')\n")
    assert "1 short local call not shown (--notes)" in invoke(tmp_path).output
    result = invoke(tmp_path, "--notes")
    assert result.exit_code == 0
    assert "UNS104 note" in result.output


def test_json_has_every_chain_from_the_call_in_the_coroutine_to_the_primitive(app: Path) -> None:
    plain = json.loads(invoke(app, "--output-format", "json").output)
    (finding,) = plain["findings"]
    assert plain["schema"] == 1
    assert finding["site"] == {"path": "app.py", "line": 13, "column": 5, "qualname": "nap"}
    assert (finding["rule"], finding["severity"], finding["primitive"]) == ("UNS101", "error", "time.sleep")
    (chain,) = finding["chains"]
    assert chain["entrance"] == {
        "kind": "endpoint",
        "label": "GET /hello",
        "path": "app.py",
        "line": 8,
        "qualname": "hello",
    }
    assert [(s["line"], s["callee"], s["how"], s["confidence"]) for s in chain["steps"]] == [
        (9, "nap()", "call", "resolved"),
        (13, "time.sleep", "call", "resolved"),
    ]
    assert plain["stats"]["routes"] == 1


def test_sarif_carries_the_chain_as_a_code_flow_and_a_fingerprint_without_lines(app: Path) -> None:
    def run() -> dict[str, object]:
        run: dict[str, object] = json.loads(invoke(app, "--output-format", "sarif").output)["runs"][0]
        return run

    first = run()
    (result,) = first["results"]  # type: ignore[misc]
    locations = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [row["location"]["message"]["text"] for row in locations] == ["GET /hello", "nap()", "time.sleep"]
    (app / "app.py").write_text("# moved\n" + APP)
    (moved,) = run()["results"]  # type: ignore[misc]
    assert moved["partialFingerprints"] == result["partialFingerprints"]
    assert moved["locations"] != result["locations"]
    (rule,) = first["tool"]["driver"]["rules"]  # type: ignore[index]
    assert "Why it stalls" in rule["help"]["markdown"]


def test_github_commands_are_escaped(app: Path) -> None:
    (app / "a,b.py").write_text(APP)
    lines = invoke(app, "--output-format", "github").output.splitlines()
    assert lines[0].startswith("::error file=a%2Cb.py,line=13,col=5,title=unstall UNS101::blocking sleep")
    assert "%0AGET /hello -> nap() -> time.sleep" in lines[0]


def test_concise_is_one_line_a_finding(app: Path) -> None:
    (line,) = invoke(app, "--output-format", "concise").output.splitlines()
    assert line == "app.py:13:5: UNS101 error: blocking sleep on the event loop: time.sleep, reached from GET /hello"


def test_a_call_that_waits_for_the_network_is_called_http_only_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "mail.py").write_text(
        'import smtplib\nimport requests\n\n\nasync def send():\n    smtplib.SMTP("h")\n    requests.get("http://h")\n'
    )
    lines = invoke(tmp_path, "--output-format", "concise").output.splitlines()
    assert "blocking network call on the event loop: smtplib.SMTP" in lines[0]
    assert "blocking HTTP call on the event loop: requests.get" in lines[1]


def test_a_written_baseline_makes_the_next_run_pass_and_new_findings_fail(app: Path) -> None:
    baseline = app / "accepted.json"
    assert invoke(app, "--baseline", baseline, "--write-baseline").exit_code == 0
    result = invoke(app, "--baseline", baseline)
    assert (result.exit_code, "1 accepted by the baseline" in result.output) == (0, True)
    (app / "more.py").write_text("import time\nasync def g():\n    time.sleep(1)\n")
    assert invoke(app, "--baseline", baseline, "--write-baseline").exit_code == 1
    (app / "app.py").write_text(CLEAN)
    assert "whose finding is gone" in invoke(app, "--baseline", baseline).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nowhere"], "there is no nowhere"), ([".", "--baseline", "nowhere.json"], "there is no nowhere.json")],
)
def test_what_cannot_be_used_is_named_and_ends_with_two(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_settings_of_the_project_apply(app: Path) -> None:
    (app / "pyproject.toml").write_text("[tool.unstall]\nallow = ['time.sleep']\n")
    assert invoke(app).exit_code == 0
    (app / "pyproject.toml").write_text("[tool.unstall]\nalow = ['time.sleep']\n")
    result = invoke(app)
    assert (result.exit_code, "did you mean allow?" in result.output) == (2, True)


def test_a_file_of_a_newer_python_is_counted_with_the_advice(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text("def f(:\n")
    output = invoke(tmp_path).output
    assert "Not read: 1 file." in output
    assert "run it with the Python that your project runs on" in output


def test_explain_prints_a_page_by_code_or_name_and_lists_all() -> None:
    runner = CliRunner()
    page = runner.invoke(main, ["explain", "UNS102"])
    assert page.output == runner.invoke(main, ["explain", "blocking-http"]).output
    assert "Why it stalls" in page.output
    assert "UNS101" in runner.invoke(main, ["explain"]).output
    assert runner.invoke(main, ["explain", "UNS999"]).exit_code == 2
