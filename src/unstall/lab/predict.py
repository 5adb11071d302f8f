"""Which of the stalls that the lab saw ``check`` had predicted from the source alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from unstall import units
from unstall.model import Experiment, Finding, Site
from unstall.source.check import Options, check


def with_predictions(experiment: Experiment, folders: Mapping[str, Path]) -> Experiment:
    """Add the findings that explain a stall of the experiment, and a sentence on how many were predicted.

    ``folders`` has the source of each arm; only arms that stalled in code of their own are checked.
    """
    seen = {
        (trial.arm, stall.site.path, stall.site.line): stall.site
        for trial in experiment.trials
        for stall in trial.timeline.stalls
        if stall.site is not None and stall.blame == "code" and (folders[trial.arm] / stall.site.path).is_file()
    }
    if not seen:
        return experiment
    arms = {arm for arm, _, _ in seen}
    found = {folder: _findings(folder) for folder in {folders[arm] for arm in arms}}
    explained = {key: _explaining(found[folders[key[0]]], site) for key, site in seen.items()}
    predicted = sum(bool(findings) for findings in explained.values())
    sites = units.plural(len(seen), "call site", "call sites")
    unique = {finding.key: finding for findings in explained.values() for finding in findings}
    return replace(
        experiment,
        findings=tuple(unique.values()),
        notes=(*experiment.notes, f"check had predicted {units.count(predicted)} of the {sites} seen blocking."),
    )


def _findings(folder: Path) -> tuple[Finding, ...]:
    return check(folder, Options(cache=False)).findings


def _explaining(findings: Iterable[Finding], site: Site) -> list[Finding]:
    """The findings with a step at this line, else in this function: a call may span several lines."""
    exact = [f for f in findings if any(s.path == site.path and s.line == site.line for s in _sites(f))]
    return exact or [
        f for f in findings if any(s.path == site.path and _function(s) == _function(site) for s in _sites(f))
    ]


def _sites(finding: Finding) -> list[Site]:
    return [finding.site, *(step.site for chain in finding.chains for step in chain.steps)]


def _function(site: Site) -> str:
    return site.qualname.rsplit(".", 1)[-1]
