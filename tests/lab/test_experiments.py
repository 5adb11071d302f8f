"""The built-in experiments on real servers: every row of the study's two tables."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from unstall.errors import AppNotFound
from unstall.kubelet import odds
from unstall.lab import builtin, experiment
from unstall.lab.serve import free_port
from unstall.lab.trial import TrialPlan
from unstall.model import Experiment, HttpGet, ProbeSpec, ProbeType, Trial


def silent(*_: object) -> None:
    """No progress is wanted."""


def run(plans: dict[str, TrialPlan], together: bool = True) -> dict[str, Trial]:
    async def work(session: experiment.Session) -> None:
        if together:
            await session.side_by_side(plans)
        else:
            await asyncio.gather(*(session.one(key, plan) for key, plan in plans.items()))

    with experiment.session(silent) as session:
        asyncio.run(work(session))
        return session.seen()


def built_in(scale: builtin.Scale) -> dict[str, Experiment]:
    seen = run(builtin.plans(scale))
    return {one.name: one for one in (built.conclude(seen) for built in builtin.experiments(scale))}


def figure(experiment: Experiment, label: str, arm: int) -> float:
    row = next(row for row in experiment.table if row.label.endswith(label))
    value = row.cells[arm].value
    assert value is not None
    return value


def test_the_quick_run_shows_all_four_experiments() -> None:
    found = built_in(builtin.QUICK)
    assert {name: one.verdict.holds for name, one in found.items()} == {"1": True, "1b": True, "2": True, "3": True}
    blocked, awaited = (trial.timeline for trial in found["3"].trials)
    assert blocked.restarts >= 1 and blocked.missed_probes >= 3
    assert awaited.restarts == 0 and awaited.missed_probes == 0
    assert any(e.message == "Container app failed liveness probe, will be restarted" for e in blocked.events)
    guilty = {(s.site.path, s.site.qualname) for s in found["1"].trials[0].timeline.stalls if s.site}
    assert ("blocking.py", "hello") in guilty


@pytest.mark.soak
def test_the_rows_of_the_first_two_experiments() -> None:
    found = built_in(builtin.FULL)
    first, fixed = found["1"], found["2"]
    assert 15.0 <= figure(first, "first to last", 0) <= 15.6
    assert 25.0 <= figure(first, "first to last", 1) <= 25.6
    assert 3.0 <= figure(first, "first to last", 2) <= 3.4
    assert 3.0 <= figure(first, "first to last", 3) <= 4.5  # the pool's first use imports anyio's back end
    for arm in (2, 3):
        assert figure(first, "/health meanwhile", arm) < 0.1
    assert figure(first, "/health meanwhile", 0) > 7
    assert 15.0 <= figure(found["1b"], "first to last", 1) <= 15.6
    assert 3.0 <= figure(fixed, "first to last", 1) <= 3.4


def probed(app: str, delay_s: float, period_s: int, first_tick_s: float | None = None, seed: int = 0) -> TrialPlan:
    scale = builtin.Scale(short_s=delay_s, long_s=delay_s, period_s=period_s)
    plan = replace(builtin.plans(scale)["3 A" if app == "blocking" else "3 B"], first_tick_s=first_tick_s, seed=seed)
    assert plan.load is not None
    return replace(plan, load=replace(plan.load, begin_s=0.0))


def restarted(trial: Trial) -> bool:
    return trial.timeline.restarts > 0


@pytest.mark.soak
def test_under_a_liveness_probe_a_is_restarted_and_b_never_in_10_of_10_runs() -> None:
    plans = {f"{app} {n}": probed(app, 5.0, 5, seed=n) for n in range(10) for app in ("blocking", "awaited")}
    seen = run(plans)
    assert sum(restarted(trial) for key, trial in seen.items() if key.startswith("blocking")) == 10
    assert sum(restarted(trial) for key, trial in seen.items() if key.startswith("awaited")) == 0


@pytest.mark.soak
def test_the_default_probe_never_restarts_a_block_of_15_seconds() -> None:
    seen = run({f"{n}": probed("blocking", 3.0, 10, first_tick_s=n + 0.5, seed=n) for n in range(10)}, together=False)
    assert not any(restarted(trial) for trial in seen.values())
    assert {1, 2} >= {trial.timeline.missed_probes for trial in seen.values()}


@pytest.mark.soak
def test_awaited_requests_miss_no_probe_of_any_period() -> None:
    seen = run({f"{period}": probed("awaited", 3.0, period) for period in (1, 10)})
    assert {trial.timeline.missed_probes for trial in seen.values()} == {0}


@pytest.mark.soak
def test_each_phase_restarts_exactly_when_the_inequality_says_so() -> None:
    phases = [5 * (n + 0.5) / 20 for n in range(20)]
    seen: dict[str, Trial] = {}
    for half in (phases[::2], phases[1::2]):
        plans = {f"{f:.3f}": probed("blocking", 3.0, 5, first_tick_s=f, seed=n) for n, f in enumerate(half)}
        seen |= run(plans, together=False)
    probe = ProbeSpec(ProbeType.LIVENESS, HttpGet(1, "/health"), 5, 1, 3)
    for key, trial in seen.items():
        expected = odds.restarts_at_phase(probe, 15.0, float(key))
        assert restarted(trial) == expected or abs(float(key) - 4.0) <= 0.15, f"phase {key}: {trial.story}"
    assert abs(sum(map(restarted, seen.values())) - 16) <= 1


@pytest.mark.soak
@pytest.mark.parametrize(("delay_s", "period_s", "expected"), [(8.0, 10, True), (5.0, 5, True)])
def test_blocks_that_the_formula_calls_certain_restart(delay_s: float, period_s: int, expected: bool) -> None:
    (trial,) = run({"one": probed("blocking", delay_s, period_s)}).values()
    assert restarted(trial) is expected


def test_a_trial_that_fails_to_start_ends_the_others_and_says_why() -> None:
    plans = builtin.plans(builtin.QUICK)
    broken = replace(plans["1 B"], server=replace(plans["1 B"].server, target="nothing_here:app", port=free_port()))
    with pytest.raises(AppNotFound, match="nothing_here"):
        run({"1 A": plans["1 A"], "1 B": broken})
