"""The Python files of an earlier revision, laid out as the working tree is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unstall.errors import BadInput
from unstall.source.store import CACHE_DIR

_GITLINK, _SYMLINK = "160000", "120000"
_OF_HOOKS = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
_DEPTH = 4
"""Names of folders above the root that stay the same: a check looks at them to know in which package it is."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, and the revision it was asked for by; ``left`` where that one has gone on since."""

    asked: str
    commit: str
    left: bool

    def __str__(self) -> str:
        short = self.commit[:10]
        if self.left:
            return f"{short}, where this left {self.asked}"
        return short if self.commit.startswith(self.asked) else f"{short} ({self.asked})"


def revision(root: Path, asked: str) -> Revision:
    """Where the present work left ``asked``: the merge base with HEAD, or ``asked`` itself where they share none.

    So what others have since added to a branch does not count as taken away here.

    Raises:
        BadInput: no git, no repository, or no such revision.
    """
    if asked.startswith("-"):
        raise BadInput(f"{asked} is not a revision", "name a branch, a tag or a commit, as --diff-base origin/main")
    _git(root, "rev-parse", "--show-toplevel")
    known = _answer(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked + "^{commit}")
    if known is None:
        raise BadInput(
            f"git knows no revision {asked}",
            "fetch it first; a CI checkout is often shallow (GitHub: actions/checkout with fetch-depth: 0)",
        )
    commit = _answer(root, "merge-base", known, "HEAD") or known
    return Revision(asked, commit, left=commit != known)


@contextmanager
def laid_out(root: Path, commit: str, present: list[str]) -> Iterator[Path]:
    """The Python files below ``root`` as they were at ``commit``, in a folder that is gone afterwards.

    Those of the ``present`` files that git does not follow (generated code, submodules) are there as they are now, for
    nothing can be said of how they were. The facts that are known already are at hand there too.

    Raises:
        BadInput: git cannot read the commit.
    """
    blobs = _python_files(root, commit)
    with tempfile.TemporaryDirectory(prefix="unstall-") as folder:
        base = Path(folder, *root.resolve().parts[-_DEPTH:])
        base.mkdir(parents=True)
        _write(root, base, blobs)
        for path in _not_followed(root, present):
            if path not in blobs:
                (base / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / path, base / path)
        if (root / CACHE_DIR).is_dir():
            shutil.copytree(root / CACHE_DIR, base / CACHE_DIR, ignore=shutil.ignore_patterns("*.tmp*"))
        yield base


def _python_files(root: Path, commit: str) -> dict[str, str]:
    """Object names of the files by path relative to ``root``."""
    rows = _git(root, "ls-tree", "-r", "-z", commit).split("\0")
    found = {}
    for row in filter(None, rows):
        about, _, path = row.partition("\t")
        mode, _, name = about.split(" ")
        if path.endswith(".py") and mode not in (_GITLINK, _SYMLINK):
            found[path] = name
    return found


def _write(root: Path, base: Path, blobs: dict[str, str]) -> None:
    process = subprocess.Popen(
        ["git", "-C", str(root), "cat-file", "--batch"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_outside_of_hooks(),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    with process:
        for path, name in blobs.items():
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            about = process.stdout.readline().split()
            if len(about) != 3:
                raise BadInput(f"git cannot read {path} of that revision", "the clone may be partial: fetch it whole")
            data = process.stdout.read(int(about[2]))
            process.stdout.read(1)
            (base / path).parent.mkdir(parents=True, exist_ok=True)
            (base / path).write_bytes(data)
        process.stdin.close()


def _not_followed(root: Path, present: list[str]) -> list[str]:
    """Files that git ignores, or that are another repository's."""
    rows = [row for row in _git(root, "ls-files", "-s", "-z").split("\0") if row]
    followed = {row.partition("\t")[2] for row in rows}
    modules = tuple(row.partition("\t")[2] + "/" for row in rows if row.startswith(_GITLINK))
    loose = [path for path in present if path not in followed]
    of_modules = [path for path in loose if path.startswith(modules)] if modules else []
    asked = [path for path in loose if path not in set(of_modules)]
    ignored = _answer(root, "check-ignore", "-z", "--stdin", given="\0".join(asked)) if asked else ""
    return of_modules + [path for path in (ignored or "").split("\0") if path]


def _git(root: Path, *arguments: str) -> str:
    answer = _answer(root, *arguments)
    if answer is None:
        raise BadInput(f"{root} is not in a git repository", "--diff-base compares with a revision of one")
    return answer


def _answer(root: Path, *arguments: str, given: str | None = None) -> str | None:
    """What git prints; None where it says no."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            input=given, capture_output=True, env=_outside_of_hooks(), encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
    except OSError:
        raise BadInput("git is not on the PATH", "--diff-base asks it for the earlier revision") from None
    return done.stdout.strip("\n") if done.returncode == 0 else None


def _outside_of_hooks() -> dict[str, str]:
    """The environment without what points git at a hook's own index: the folder says which repository."""
    return {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
