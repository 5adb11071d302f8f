"""The documents are true: every link leads somewhere, every command in the READMEs runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def commands(page: Path) -> list[str]:
    """Lines a reader would type: after `$ `, or indented in prose, comments left out."""
    found = []
    for line in page.read_text().splitlines():
        typed = re.match(r"\$ (.+)", line) or re.match(r"    ((?:make|unstall|\.venv/bin/unstall) .+)", line)
        if typed:
            found.append(typed[1].split("  #")[0].split("    #")[0].strip())
    return found


TYPED = [(page.name, command) for page in READMES for command in commands(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in ("".join(found) for found in LINK.findall(page.read_text())):
        if link.startswith(("http://", "https://", "#")):
            continue
        assert (page.parent / link.split("#")[0]).exists(), f"{page.name} links to {link}"


def test_the_readmes_show_commands() -> None:
    assert {"make lab", "make test", "unstall check"} <= {command for _, command in TYPED}


@pytest.mark.parametrize(("page", "command"), TYPED, ids=[f"{page}: {command}" for page, command in TYPED])
def test_every_command_of_the_readmes_runs(page: str, command: str, tmp_path: Path) -> None:
    if command.startswith("make "):
        done = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    folder = tmp_path / "example"
    shutil.copytree(ROOT / "docs" / "example", folder)
    words = command.split()
    assert words[0].endswith("unstall")
    if words[1] == "lab" and "--duration" not in words:
        words += ["--duration", "2", "--trials", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "unstall", *words[1:]],
        cwd=folder,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr


def test_the_screen_of_check_in_the_readme_is_what_check_prints(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "example", tmp_path / "example")
    printed = subprocess.run(
        [sys.executable, "-m", "unstall", "check", "--exclude", "fixed/*"],
        cwd=tmp_path / "example",
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
    ).stdout
    block = re.findall(r"```console\n\$ unstall check\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert [line.rstrip() for line in block.splitlines()] == [line.rstrip() for line in printed.splitlines()][
        : len(block.splitlines())
    ]


def test_the_map_of_the_design_names_every_module_as_it_describes_itself() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "design_map.py", "--check"])
    assert done.returncode == 0, "run: python scripts/design_map.py"
