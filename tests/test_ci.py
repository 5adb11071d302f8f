"""Where people already are: a pre-commit run, the Action's steps, and SARIF that its schema accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

TOP = Path(__file__).parents[1]
SCHEMA = Path(__file__).with_name("data") / "sarif-schema-2.1.0.json"
APP = 'import time\nfrom fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/hello")\nasync def hello():\n    nap()\n\n\ndef nap():\n    time.sleep(1)\n'
QUIET = APP.replace("    time.sleep(1)", "    pass")
BIN = Path(sys.executable).parent


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd, capture_output=True, text=True, timeout=500,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment},
    )  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = run("git", *who, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A project in git with a service/app.py that does not block."""
    folder = tmp_path / "origin"
    (folder / "service").mkdir(parents=True)
    (folder / "service" / "app.py").write_text(QUIET)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "quiet")
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    """A clean clone of it on a branch of its own, on which the helper begins to block."""
    git(tmp_path, "clone", "-q", str(origin), "clone")
    folder = tmp_path / "clone"
    git(folder, "switch", "-q", "-c", "work")
    (folder / "service" / "app.py").write_text(APP)
    return folder


# --- pre-commit ---------------------------------------------------------------------------------------


def hook() -> dict[str, Any]:
    (only,) = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text())
    assert isinstance(only, dict)
    return only


def use_hook(folder: Path, *arguments: str) -> None:
    """Our hook as its file declares it, with the unstall of these tests in place of one installed from the network."""
    local = {**hook(), "language": "system", "args": list(arguments)}
    config = {"repos": [{"repo": "local", "hooks": [local]}]}
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    git(folder, "add", "-A")


def test_a_pre_commit_run_fails_on_what_the_commit_brings_in_and_shows_the_frame(clone: Path, tmp_path: Path) -> None:
    use_hook(clone, "--diff-base", "HEAD")
    done = run(BIN / "pre-commit", "run", cwd=clone, PRE_COMMIT_HOME=str(tmp_path / "kept"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "service/app.py:13:5" in done.stdout
    assert "time.sleep" in done.stdout


def test_a_pre_commit_run_passes_where_the_commit_brings_nothing_in(clone: Path, tmp_path: Path) -> None:
    git(clone, "commit", "-q", "-a", "-m", "blocks from now on")
    (clone / "service" / "more.py").write_text("async def f():\n    pass\n")
    use_hook(clone, "--diff-base", "HEAD")
    done = run(BIN / "pre-commit", "run", cwd=clone, PRE_COMMIT_HOME=str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout


@pytest.mark.soak  # installs unstall from the clone, for which pip asks the package index
def test_pre_commit_installs_the_hook_from_a_clean_clone_and_runs_it(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(TOP), "unstall")
    git(clone, "add", "-A")
    kept = str(tmp_path / "kept")
    done = run(BIN / "pre-commit", "try-repo", tmp_path / "unstall", "unstall-check", cwd=clone, PRE_COMMIT_HOME=kept)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "service/app.py:13:5" in done.stdout


# --- the Action -----------------------------------------------------------------------------------------


class Action:
    """Runs the shell steps of action.yml as GitHub does: expressions filled in, outputs carried on."""

    def __init__(self, clone: Path, **inputs: str) -> None:
        self.plain = yaml.safe_load((TOP / "action.yml").read_text())
        self.clone = clone
        self.known: dict[str, str] = {"github.action_path": str(TOP), "runner.temp": str(clone.parent / "temp")}
        for name, about in self.plain["inputs"].items():
            self.known[f"inputs.{name}"] = inputs.get(name.replace("-", "_"), self.filled(about["default"]))

    def filled(self, text: str) -> str:
        """The text with each ``${{ name }}`` replaced; what nobody knows is empty, as on GitHub."""
        return re.sub(r"\$\{\{ *([^}]+?) *\}\}", lambda found: self.known.get(found[1], ""), text)

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        (step,) = [step for step in self.plain["runs"]["steps"] if step["name"] == name]
        assert step["shell"] == "bash"
        said, path = self.clone.parent / "output", self.clone.parent / "path"
        said.write_text("")
        done = run(
            "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"],
            cwd=self.clone, GITHUB_OUTPUT=str(said), GITHUB_PATH=str(path),
            **{key: self.filled(value) for key, value in step["env"].items()},
        )  # fmt: skip
        for line in said.read_text().splitlines():
            key, _, value = line.partition("=")
            self.known[f"steps.{step['id']}.outputs.{key}"] = value
        return done


def test_the_action_annotates_the_line_writes_sarif_and_fails_the_job(clone: Path) -> None:
    git(clone, "commit", "-q", "-a", "-m", "blocks")
    action = Action(clone)
    checked = action.run("Check")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("::error file=service/app.py,line=13,col=5,title=unstall UNS101::")
    assert validated((clone / "unstall.sarif").read_text())["results"]
    verdict = action.run("Verdict")
    assert (verdict.returncode, "unstall found blocking calls" in verdict.stdout) == (1, True)


def test_on_a_pull_request_the_action_looks_at_what_it_brings_in(clone: Path) -> None:
    base = git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "-q", "-a", "-m", "blocks")
    before = git(clone, "rev-parse", "HEAD")
    found = Action(clone, diff_base=base)
    assert found.run("Check").returncode == 0
    assert found.known["steps.check.outputs.found"] == "true"
    nothing = Action(clone, diff_base=before, path="service", args="--entrances routes  --select UNS1")
    assert nothing.run("Check").stdout == ""
    assert nothing.run("Verdict").returncode == 0
    assert validated((clone / "unstall.sarif").read_text())["results"] == []


def test_the_action_stops_where_the_check_cannot_run(clone: Path) -> None:
    checked = Action(clone, diff_base="0" * 40).run("Check")
    assert checked.returncode == 2
    assert "fetch-depth: 0" in checked.stderr
    assert not (clone / "unstall.sarif").exists()


@pytest.mark.soak  # pip asks the package index
def test_the_action_installs_unstall_from_its_own_clone(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(TOP), "action")
    action = Action(clone)
    action.known["github.action_path"] = str(tmp_path / "action")
    installed = action.run("Install unstall")
    assert installed.returncode == 0, installed.stderr
    (folder,) = (tmp_path / "path").read_text().splitlines()
    assert run(Path(folder) / "unstall", "check", ".", cwd=clone).returncode == 1


# --- SARIF ----------------------------------------------------------------------------------------------


def validated(text: str) -> dict[str, Any]:
    """The only run of a log that the schema of SARIF 2.1.0 accepts."""
    log = json.loads(text)
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text())).validate(log)
    (only,) = log["runs"]
    assert isinstance(only, dict)
    return only


def sarif(folder: Path, *arguments: str) -> dict[str, Any]:
    done = run(BIN / "unstall", "check", *arguments, "--no-cache", "--output-format", "sarif", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    return validated(done.stdout)


def test_sarif_is_valid_with_chains_as_code_flows_notes_included(tmp_path: Path) -> None:
    more = '\n\n@app.get("/more")\nasync def more():\n    open("x")\n    nap()\n'
    (tmp_path / "with a space.py").write_text(APP + more)
    found = sarif(tmp_path, ".", "--notes")
    assert {result["level"] for result in found["results"]} == {"error", "note"}
    sleep = next(result for result in found["results"] if result["ruleId"] == "UNS101")
    assert len(sleep["codeFlows"]) == 2
    where = sleep["locations"][0]["physicalLocation"]["artifactLocation"]
    assert where == {"uri": "with%20a%20space.py", "uriBaseId": "%SRCROOT%"}
    assert validated(json.dumps({"version": "2.1.0", "runs": [found]}))


def test_the_schema_does_refuse_what_is_wrong() -> None:
    with pytest.raises(jsonschema.ValidationError):
        validated(json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}))


def test_fingerprints_stay_when_lines_move_and_differ_between_findings(tmp_path: Path) -> None:
    twice = APP.replace("    time.sleep(1)", "    time.sleep(1)\n    time.sleep(2)")
    (tmp_path / "app.py").write_text(twice)
    first = [result["partialFingerprints"]["unstallKey/v1"] for result in sarif(tmp_path)["results"]]
    (tmp_path / "app.py").write_text("# about\n\n" + twice.replace("def nap", "def other():\n    pass\n\n\ndef nap"))
    assert [result["partialFingerprints"]["unstallKey/v1"] for result in sarif(tmp_path)["results"]] == first
    assert len(set(first)) == 2


def test_paths_lead_from_here_to_the_file_so_that_editors_and_github_find_it(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "app.py").write_text(APP)
    for path in ("service", "service/", "service/app.py", str(tmp_path / "service")):
        done = run(BIN / "unstall", "check", path, "--no-cache", "--output-format", "concise", cwd=tmp_path)
        assert done.stdout.startswith("service/app.py:13:5: UNS101 error:"), path


def test_the_problem_matcher_of_the_docs_reads_a_concise_line(tmp_path: Path) -> None:
    page = (TOP / "docs" / "ci.md").read_text()
    (matcher,) = re.findall(r'"regexp": (".*"),', page)
    (tmp_path / "app.py").write_text(APP)
    done = run(BIN / "unstall", "check", "--no-cache", "--output-format", "concise", cwd=tmp_path)
    found = re.match(json.loads(matcher), done.stdout.strip())
    assert found is not None
    assert found.groups()[:5] == ("app.py", "13", "5", "UNS101", "error")
