"""Fixing, by example: apps that are rewritten and answer the same, apps with a trap that stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fix_cases import FIXED, TRAPS, answers

from unstall.source import edits
from unstall.source.check import Options
from unstall.source.fix import FixReport, fix, fixable, write

OPTIONS = Options(cache=False, jobs=1, notes=True)
LAB_APPS = Path(__file__).parents[2] / "src" / "unstall" / "lab" / "apps"

# Blocks for asyncio.run raises on a running loop: the app could not answer before it was fixed.
NO_ANSWER_BEFORE = {"run_awaited"}
# Locks announce nothing, so there is nothing to see on the loop's thread.
SILENT = {"with_lock"}


def project(tmp_path: Path, *files: Path) -> Path:
    for file in files:
        shutil.copyfile(file, tmp_path / "app.py")
    return tmp_path


def write_project(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def fixed(root: Path, unsafe: bool = False) -> FixReport:
    return fix(root, OPTIONS, unsafe)


def test_there_are_thirty_apps_to_fix_and_twenty_traps() -> None:
    assert len(FIXED) >= 30
    assert len(TRAPS) >= 20


@pytest.mark.parametrize("case", FIXED, ids=lambda p: p.stem)
def test_the_app_becomes_what_is_expected_and_a_second_run_changes_nothing(case: Path, tmp_path: Path) -> None:
    root = project(tmp_path, case)
    report = fixed(root)
    assert report.fixed
    assert not report.left
    assert (root / "app.py").read_bytes() == case.read_bytes(), "nothing is written before write()"
    write(report)
    assert (root / "app.py").read_bytes() == case.with_suffix(".after.py").read_bytes()
    again = fixed(root)
    assert not again.plans
    assert not again.texts


@pytest.mark.parametrize("case", FIXED, ids=lambda p: p.stem)
def test_reverse_edits_restore_the_bytes(case: Path, tmp_path: Path) -> None:
    report = fixed(project(tmp_path, case))
    (file,) = report.files
    after = edits.apply(file.text, report.edits())
    assert after == report.texts["app.py"]
    assert file.encoded(edits.apply(after, edits.reverse(file.text, report.edits()))) == case.read_bytes()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", FIXED, ids=lambda p: p.stem)
def test_the_fixed_app_answers_the_same_and_nothing_blocks_the_loops_thread(case: Path) -> None:
    after, blocked = answers(case.with_suffix(".after.py"))
    assert blocked == []
    if case.stem not in NO_ANSWER_BEFORE:
        before, blocked_before = answers(case)
        assert after == before
        assert blocked_before or case.stem in SILENT


@pytest.mark.parametrize("case", TRAPS, ids=lambda p: p.stem)
def test_an_app_with_a_trap_stays_as_it_is_and_the_reason_is_said(case: Path, tmp_path: Path) -> None:
    reason = case.read_text().splitlines()[0].removeprefix("# reason: ")
    root = project(tmp_path, case)
    report = fixed(root)
    assert not report.plans
    assert not report.texts
    assert report.left
    assert any(reason in left.reason for left in report.left), [left.reason for left in report.left]
    write(report)
    assert (root / "app.py").read_bytes() == case.read_bytes()


@pytest.mark.parametrize(
    "case", [p for p in TRAPS if "--unsafe" in p.read_text().splitlines()[0]], ids=lambda p: p.stem
)
def test_with_unsafe_the_fix_is_made_and_says_how_behaviour_can_change(case: Path, tmp_path: Path) -> None:
    root = project(tmp_path, case)
    assert all(left.unsafe for left in fixed(root).left)
    report = fixed(root, unsafe=True)
    assert report.fixed
    assert not report.left
    assert all(plan.unsafe for plan in report.plans)


def test_experiment_ones_app_becomes_an_awaited_one(tmp_path: Path) -> None:
    root = project(tmp_path, LAB_APPS / "blocking.py")
    report = fixed(root)
    write(report)
    text = (root / "app.py").read_text()
    assert "    await asyncio.sleep(HELLO_SECONDS)\n" in text
    assert "import asyncio\nimport os\n\n" in text
    assert "import time" not in text
    assert [plan.kind for plan in report.plans] == ["await"]


def test_an_endpoint_that_somebody_awaits_stays_a_coroutine(tmp_path: Path) -> None:
    app = (
        "import subprocess\nfrom fastapi import FastAPI\napp = FastAPI()\n\n\n@app.get('/')\nasync def index():\n"
        "    return subprocess.getoutput('echo a')\n"
    )
    root = write_project(
        tmp_path,
        {
            "pkg/__init__.py": "",
            "pkg/app.py": app,
            "tests/test_app.py": "from pkg.app import index as i\nawait_me = i()\n",
        },
    )
    report = fixed(root)
    assert [plan.kind for plan in report.plans] == ["offload"]
    assert "await run_in_threadpool(subprocess.getoutput, 'echo a')" in report.texts["pkg/app.py"]


def test_a_namesake_elsewhere_does_not_keep_an_endpoint_from_becoming_plain(tmp_path: Path) -> None:
    app = (
        "import subprocess\nfrom fastapi import FastAPI\napp = FastAPI()\n\n\n@app.get('/')\nasync def index():\n"
        "    return subprocess.getoutput('echo a')\n"
    )
    other = "async def index():\n    return 1\n\n\nasync def main():\n    return await index()\n"
    report = fixed(write_project(tmp_path, {"app.py": app, "other.py": other}))
    assert [plan.kind for plan in report.plans] == ["def"]


def test_a_helper_in_another_module_is_offloaded_where_the_coroutine_calls_it(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/render.py": "import subprocess\n\n\ndef build(text):\n    return subprocess.getoutput(f'echo {text}')\n",
        "shop/api.py": "from fastapi import FastAPI, Request\n\nfrom shop.render import build\n\napp = FastAPI()\n\n\n"
        "@app.post('/')\nasync def index(request: Request):\n    return build((await request.body()).decode())\n",
    }
    report = fixed(write_project(tmp_path, files))
    assert list(report.texts) == ["shop/api.py"]
    text = report.texts["shop/api.py"]
    assert "return await run_in_threadpool(build, (await request.body()).decode())" in text
    assert text.startswith(
        "from fastapi import FastAPI, Request\nfrom starlette.concurrency import run_in_threadpool\n\nfrom shop.render"
    )


def test_an_import_that_another_module_takes_stays(tmp_path: Path) -> None:
    files = {
        "app.py": "import time\n\n\nasync def main():\n    time.sleep(1)\n",
        "other.py": "from app import time\n\nNOW = time.time()\n",
    }
    text = fixed(write_project(tmp_path, files)).texts["app.py"]
    assert "import asyncio\nimport time\n" in text


def test_an_import_with_a_comment_stays(tmp_path: Path) -> None:
    files = {"app.py": "import time  # noqa: F401\n\n\nasync def main():\n    time.sleep(1)\n"}
    text = fixed(write_project(tmp_path, files)).texts["app.py"]
    assert "import asyncio\nimport time  # noqa: F401\n" in text


def test_edits_stay_within_the_files_that_were_asked_for(tmp_path: Path) -> None:
    text = "import time\n\n\nasync def main():\n    time.sleep(1)\n"
    root = write_project(tmp_path, {"one.py": text, "two.py": text})
    report = fix(root, OPTIONS, wanted=lambda path: path == "one.py")
    assert list(report.texts) == ["one.py"]
    assert report.found == 1


def test_a_fix_that_the_check_cannot_confirm_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_project(tmp_path, {"app.py": "import time\n\n\nasync def main():\n    time.sleep(1)\n"})
    monkeypatch.setattr("unstall.source.proof.adding", lambda tree, needs, own: [])
    good = fixed(root)
    assert good.fixed, "without its import the call is still gone, so the proof holds"
    monkeypatch.setattr("unstall.source.proof._with_imports", lambda texts, path, text, plans: texts.text(path))
    report = fixed(root)
    assert not report.fixed
    assert not report.texts
    assert "could be proved" in report.left[0].reason


def test_a_rewrite_that_does_not_compile_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_project(tmp_path, {"app.py": "import time\n\n\nasync def main():\n    time.sleep(1)\n"})
    monkeypatch.setattr("unstall.source.proof._with_imports", lambda texts, path, text, plans: text + "return\n")
    report = fixed(root)
    assert not report.texts


def test_one_plan_that_does_not_hold_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unstall.source import proof as fixing

    body = "import time\n\n\n" + "\n\n".join(f"async def f{n}():\n    time.sleep({n} + 1)\n" for n in range(5))
    root = write_project(tmp_path, {"app.py": body})
    real = fixing._with_imports

    def breaking(texts: object, path: str, text: str, plans: object) -> str:
        result = real(texts, path, text, plans)  # type: ignore[arg-type]
        return result + "return\n" if "await asyncio.sleep(3 + 1)" in result else result

    monkeypatch.setattr(fixing, "_with_imports", breaking)
    report = fixed(root)
    assert len(report.fixed) == 4
    assert [left.finding.site.qualname for left in report.left] == ["f3"]


def test_check_can_ask_which_findings_have_a_fix(tmp_path: Path) -> None:
    root = write_project(tmp_path, {"app.py": "import time\n\n\nasync def main():\n    time.sleep(1)\n"})
    assert list(fixable(root, OPTIONS).values()) == ["asyncio.sleep lets others run meanwhile"]
