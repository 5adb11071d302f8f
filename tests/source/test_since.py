"""`--diff-base`: histories, each with what the change brings in and nothing else."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from unstall.errors import BadInput
from unstall.source.check import CheckReport, Options
from unstall.source.since import Since

API = """\
from fastapi import FastAPI
from asyncio import to_thread
from app import work

app = FastAPI()


@app.get("/orders")
async def orders():
    total = 0
    return work.load("orders")


@app.get("/status")
async def status():
    return {"ok": True}
"""
WORK = """\
import requests
import time


def load(name):
    url = f"http://peer/{name}"
    answer = requests.get(url)
    return answer.json()


def harmless(name):
    parts = name.split("/")
    return parts[-1]
"""
QUIET = WORK.replace("requests.get(url)", "make(url)")
Files = dict[str, str]
Brought = set[tuple[str, str, str]]
"""File and primitive of the call, and the entrance that reaches it."""


@dataclass
class History:
    """The files before and after; a file that is None afterwards is gone."""

    says: str
    changes: dict[str, str | None]
    brings: Brought = field(default_factory=set)
    before: Files = field(default_factory=lambda: {"app/__init__.py": "", "app/api.py": API, "app/work.py": WORK})

    def __str__(self) -> str:
        return self.says.replace(" ", "-")


def base(**files: str) -> Files:
    named = {f"app/{name}.py": text for name, text in files.items()}
    return {"app/__init__.py": "", "app/api.py": API, "app/work.py": WORK, **named}


GET = ("app/work.py", "requests.get")
SERVICE = """\
from app import work


async def serve(name):
    return work.load(name)
"""
OVER_SERVICE = API.replace("from app import work", "from app import service").replace(
    'work.load("orders")', 'await service.serve("orders")'
)

HISTORIES = [
    History("nothing changed", {}),
    History("a comment and blank lines above the call", {"app/work.py": "# about\n\n\n" + WORK}),
    History(
        "a helper is added and called",
        {
            "app/work.py": WORK + "\n\ndef nap():\n    time.sleep(1)\n",
            "app/api.py": API.replace("return {", "work.nap()\n    return {"),
        },
        {("app/work.py", "time.sleep", "GET /status")},
    ),
    History(
        "a helper is added that nobody on the loop calls",
        {"app/work.py": WORK + "\n\ndef nap():\n    time.sleep(1)\n"},
    ),
    History(
        "a helper far from the endpoint begins to block",
        {"app/work.py": WORK},
        {(*GET, "GET /orders")},
        base(work=QUIET),
    ),
    History(
        "a blocking helper gets another blocking call",
        {"app/work.py": WORK.replace("    return answer", "    time.sleep(0.5)\n    return answer")},
        {("app/work.py", "time.sleep", "GET /orders")},
    ),
    History(
        "a second call of the same kind before the first",
        {"app/work.py": WORK.replace("    answer =", '    requests.get("http://peer/warm")\n    answer =')},
        {(*GET, "GET /orders")},
    ),
    History(
        "the blocking file moves",
        {
            "app/work.py": None,
            "app/inner/__init__.py": "",
            "app/inner/jobs.py": WORK,
            "app/api.py": API.replace("from app import work", "from app.inner import jobs as work"),
        },
    ),
    History(
        "the file of the endpoints moves",
        {"app/api.py": None, "app/routes.py": API},
    ),
    History(
        "the blocking function gets a new name",
        {
            "app/work.py": WORK.replace("def load(", "def fetch("),
            "app/api.py": API.replace("work.load(", "work.fetch("),
        },
    ),
    History(
        "the endpoint's function gets a new name",
        {"app/api.py": API.replace("def orders(", "def list_orders(")},
    ),
    History(
        "the file moves and the function gets a new name and a line",
        {
            "app/work.py": None,
            "app/jobs.py": WORK.replace("def load(", "def fetch(").replace("    answer =", "    name = name\n    answer ="),
            "app/api.py": API.replace("from app import work", "from app import jobs as work").replace(
                "work.load(", "work.fetch("
            ),
        },
    ),
    History(
        "a new entrance to an old call",
        {"app/api.py": API.replace('return {"ok": True}', 'return work.load("status")')},
        {(*GET, "GET /status")},
    ),
    History(
        "a new route to an old coroutine that blocks",
        {
            "app/api.py": OVER_SERVICE.replace('return {"ok": True}', 'return await service.serve("status")'),
        },
        {(*GET, "GET /status")},
        base(api=OVER_SERVICE, service=SERVICE),
    ),
    History(
        "the offload is taken away",
        {"app/api.py": API},
        {(*GET, "GET /orders")},
        base(api=API.replace('work.load("orders")', 'await to_thread(work.load, "orders")')),
    ),
    History(
        "one of two offloads is taken away",
        {"app/api.py": API.replace('return {"ok": True}', 'return work.load("b")')},
        {(*GET, "GET /status")},
        base(api=API.replace('return {"ok": True}', 'return await to_thread(work.load, "b")')),
    ),
    History(
        "the offload is taken away in an endpoint that blocks by another way already",
        {"app/api.py": API.replace("total = 0", 'work.load("total")')},
        {(*GET, "GET /orders")},
        base(api=API.replace("total = 0", 'await to_thread(work.load, "total")')),
    ),
    History(
        "a call is offloaded",
        {"app/api.py": API.replace('work.load("orders")', 'await to_thread(work.load, "orders")')},
    ),
    History(
        "the blocking lines move into a function of their own",
        {
            "app/work.py": WORK.replace("    answer = requests.get(url)\n", "    answer = ask(url)\n")
            + "\n\ndef ask(url):\n    return requests.get(url)\n"
        },
    ),
    History(
        "a def endpoint becomes async",
        {"app/api.py": API},
        {(*GET, "GET /orders")},
        base(api=API.replace("async def orders", "def orders")),
    ),
    History(
        "a route calls an old function that was offloaded elsewhere, in a new file",
        {
            "app/more.py": 'from fastapi import APIRouter\nfrom app import work\n\nrouter = APIRouter()\n\n\n@router.get("/more")\n'
            'async def more():\n    return work.load("more")\n'
        },
        {(*GET, "GET /more")},
    ),
    History(
        "two functions change places",
        {"app/work.py": WORK[: WORK.index("def load")] + WORK[WORK.index("def harmless") :] + "\n\n" + WORK[WORK.index("def load") : WORK.index("\n\ndef harmless")]},
    ),
    History(
        "an endpoint is deleted",
        {"app/api.py": API[: API.index("@app.get")] + API[API.index('@app.get("/status")') :]},
    ),
    History(
        "one blocking call goes and another comes, as it is written, in another endpoint",
        {
            "app/api.py": API.replace('work.load("orders")', "None").replace("total = 0", "pass").replace(
                'return {"ok": True}', 'import requests\n    return requests.get("http://peer")'
            )
        },
        {("app/api.py", "requests.get", "GET /status")},
        base(api=API.replace("total = 0", 'import requests\n    requests.get("http://peer")')),
    ),
]  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-C", str(folder), *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str | None] | Files) -> None:
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def repository(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    write(folder, files)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "before")
    return folder


def brought(report: CheckReport) -> Brought:
    return {
        (finding.site.path, finding.primitive.name, chain.entrance.label)
        for finding in report.findings
        for chain in finding.chains
    }


def since(folder: Path, asked: str) -> CheckReport:
    return Since(folder, Options(cache=False, jobs=1), asked).report()


@pytest.mark.parametrize("history", HISTORIES, ids=str)
def test_only_what_the_change_brings_in_is_reported(history: History, tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", history.before)
    write(folder, history.changes)
    assert brought(since(folder, "HEAD")) == history.brings
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "after")
    assert brought(since(folder, "HEAD~1")) == history.brings
    assert brought(since(folder, "HEAD")) == set()


def test_what_others_did_to_the_branch_meanwhile_does_not_count(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", base())
    git(folder, "switch", "-q", "-c", "mine")
    write(folder, {"app/new.py": "import time\n\n\nasync def mine():\n    time.sleep(1)\n"})
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "mine")
    git(folder, "switch", "-q", "main")
    write(folder, {"app/work.py": QUIET})  # mended on main, after the branch left it
    git(folder, "commit", "-q", "-a", "-m", "mended")
    git(folder, "switch", "-q", "mine")
    compared = Since(folder, Options(cache=False, jobs=1), "main")
    assert brought(compared.report()) == {("app/new.py", "time.sleep", "async def mine")}
    assert compared.said.endswith(", where this left main: 1 blocking call found there already.")


def test_files_that_git_ignores_are_taken_as_they_are(tmp_path: Path) -> None:
    client = "import requests\n\n\ndef ask():\n    return requests.get('http://peer')\n"
    api = "from generated import ask\n\n\nasync def f():\n    return ask()\n"
    folder = repository(tmp_path / "project", {"api.py": api, ".gitignore": "generated.py\n"})
    (folder / "generated.py").write_text(client)
    assert brought(since(folder, "HEAD")) == set()


def test_it_works_in_a_hook_which_has_an_index_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repository(tmp_path / "project", base())
    monkeypatch.setenv("GIT_DIR", ".nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "elsewhere")
    assert brought(since(folder, "HEAD")) == set()


def test_a_folder_below_the_top_and_a_single_file_can_be_asked_for(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", base())
    write(folder, {"app/work.py": WORK + "\n\nasync def nap():\n    time.sleep(1)\n"})
    for path in (folder / "app", folder / "app" / "work.py"):
        report = Since(path, Options(cache=False, jobs=1), "HEAD").report()
        assert brought(report) == {("work.py", "time.sleep", "async def nap")}


def test_the_facts_kept_by_earlier_runs_serve_the_earlier_revision_too(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", base())
    asked = Options(jobs=1)
    first = Since(folder, asked, "HEAD").report()
    again = Since(folder, asked, "HEAD").report()
    assert brought(first) == brought(again) == set()
    assert sorted(path.name for path in folder.iterdir()) == [".git", ".unstall_cache", "app"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [("nonsense", "git knows no revision nonsense"), ("--all", "--all is not a revision"), ("HEAD:app", "HEAD:app")],
)
def test_a_revision_that_is_none_is_named(tmp_path: Path, asked: str, said: str) -> None:
    folder = repository(tmp_path / "project", base())
    with pytest.raises(BadInput, match=said):
        since(folder, asked)


def test_outside_of_git_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "app.py").write_text("")
    with pytest.raises(BadInput, match="is not in a git repository"):
        since(tmp_path, "HEAD")
