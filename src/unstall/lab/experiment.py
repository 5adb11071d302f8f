"""Runs trials, side by side or one after another, and keeps what was seen whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from unstall.lab.trial import TrialPlan, TrialRun
from unstall.model import Experiment, LabReport, PodTimeline, Trial

Said = Callable[[str, TrialRun], None]
"""Called with ``started``, ``loading`` and ``ended`` as each trial goes on."""


@dataclass(slots=True)
class Session:
    """All trials of one lab run: those that ended, and those under way when somebody pressed Ctrl-C."""

    folder: Path
    said: Said
    runs: dict[str, TrialRun] = field(default_factory=dict)
    ended: dict[str, PodTimeline] = field(default_factory=dict)

    async def side_by_side(self, plans: dict[str, TrialPlan]) -> None:
        """Run independent trials at once; their loads begin together, when every app answers.

        Raises:
            UnstallError: the first one that a trial raised; the others are stopped.
        """
        gate = asyncio.Barrier(len(plans))
        try:
            async with asyncio.TaskGroup() as group:
                for key, plan in plans.items():
                    group.create_task(self.one(key, plan, gate))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def one(self, key: str, plan: TrialPlan, gate: asyncio.Barrier | None = None) -> PodTimeline:
        """Run one trial and return its timeline."""
        folder = self.folder / key.replace(" ", "-")
        folder.mkdir()
        run = self.runs[key] = TrialRun(plan, folder)
        self.said("started", run)
        await run.run(gate)
        self.ended[key] = run.timeline()
        self.said("ended", run)
        return self.ended[key]

    def seen(self) -> dict[str, Trial]:
        """What every trial saw so far, the unfinished ones included once their load had begun."""
        found = {
            key: run.timeline() for key, run in self.runs.items() if key not in self.ended and run.load_at is not None
        }
        return {key: Trial(key, 1, timeline) for key, timeline in (found | self.ended).items()}


@contextlib.contextmanager
def session(said: Said) -> Iterator[Session]:
    """A session in a temporary folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="unstall-lab-") as folder:
        yield Session(Path(folder), said)


def report(experiments: tuple[Experiment, ...], command: str, began_at: float, interrupted: bool = False) -> LabReport:
    """Everything in one piece; ``began_at`` is on the monotonic clock."""
    return LabReport(
        experiments=experiments,
        version=importlib.metadata.version("unstall"),
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
        interrupted=interrupted,
        elapsed_s=time.monotonic() - began_at,
    )


def environment() -> tuple[tuple[str, str], ...]:
    """Versions of what was judged, and the machine, as label and text."""
    found = [("Python", platform.python_version())]
    for name in ("uvicorn", "uvloop", "fastapi", "starlette"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append((name, importlib.metadata.version(name)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (*found, ("machine", f"{platform.system()} {platform.machine()}, {cores} cores"), ("kubelet", "v1.36.2"))


def command_line() -> str:
    """How to run this again."""
    import shlex

    return shlex.join(["unstall", *sys.argv[1:]])
