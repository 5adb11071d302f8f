"""`unstall probe`: what the probes of a manifest do to a pod whose loop blocks, and what to set in their place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from unstall import units
from unstall.errors import BadInput
from unstall.kubelet import odds
from unstall.kubelet.stalls import read_recording
from unstall.model import Measure, ProbeType
from unstall.probe.advise import Advice, advise
from unstall.probe.forecast import Forecast, History, forecasts, label, suggest
from unstall.probe.rewrite import patch, rewrite
from unstall.probe.words import asked, settings
from unstall.probe.workload import Workload, read_workloads

SCHEMA = 1


def length_s(text: str) -> float:
    """Seconds of ``25s``, ``500ms``, ``1m30s`` or a bare number. Raises `click.BadParameter`."""
    found = re.fullmatch(r"(?:(\d+)(?:m|min))?(?:(\d+(?:\.\d+)?)(ms|s)?)?", text.replace(" ", ""))
    if not text.strip() or found is None:
        raise click.BadParameter(f"{text!r} is not a length of time; write 25s, 500ms or 1m30s")
    small = float(found[2] or 0) * (0.001 if found[3] == "ms" else 1.0)
    return int(found[1] or 0) * 60 + small


@click.command(name="probe")
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--stalls", type=click.Path(path_type=Path), metavar="FILE", help="Stalls that `watch` recorded.")
@click.option("--block", "blocks", type=length_s, multiple=True, metavar="25s", help="What if the loop blocks so long?")
@click.option("--blocks-per-hour", type=click.FloatRange(min=0, min_open=True), help="How often, with --block.")
@click.option("--container", metavar="NAME", help="Only this container, as app or web/app.")
@click.option("--write", is_flag=True, help="Set the suggested probe in the manifest, changing just those lines.")
@click.option("--patch", "as_patch", is_flag=True, help="Print the suggestion as a strategic-merge patch.")
@click.option("--seed", type=int, default=0, help="Seed of the simulation.")
@click.option("--output-format", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.pass_context
def command(
    ctx: click.Context,
    manifests: tuple[str, ...],
    stalls: Path | None,
    blocks: tuple[float, ...],
    blocks_per_hour: float | None,
    container: str | None,
    write: bool,
    as_patch: bool,
    seed: int,
    output: str,
) -> None:
    """Judge the probes of Kubernetes manifests, and say what to set.

    MANIFEST is a file, a folder, or - for standard input (rendered Helm or kustomize). Exit status 1 when rules
    found something and no calculation was asked for.
    """
    history = _history(stalls, blocks, blocks_per_hour)
    workloads = _chosen(read_workloads(manifests), container)
    if as_patch or write:
        if history is None:
            raise BadInput("--write and --patch need stalls to choose by", "add --stalls FILE, or --block 25s")
        _change(workloads, history, write)
        return
    longest_s = max(history.lengths_s, default=None) if history else None
    found = [(one, advise(one, longest_s), forecasts(one.spec, history, seed) if history else []) for one in workloads]
    if output == "json":
        click.echo(json.dumps({"schema": SCHEMA, "containers": [_row(*one, blocks) for one in found]}, indent=2))
    else:
        click.echo("\n".join(_screen(found, history, blocks)))
    if history is None and any(advice for _, advice, _ in found):
        ctx.exit(1)


def _history(stalls: Path | None, blocks: tuple[float, ...], per_hour: float | None) -> History | None:
    if stalls is not None:
        if blocks or per_hour is not None:
            raise BadInput("--stalls and --block exclude each other", "leave one of them out")
        recording = read_recording(stalls)
        return History(recording.lengths_s, recording.watched_s)
    if per_hour is not None and not blocks:
        raise BadInput("--blocks-per-hour needs --block", "add the length of a block, as in --block 25s")
    if not blocks:
        return None
    if per_hour is None:
        return History(blocks)
    # A day's worth, at least one of each length.
    many = max(1, round(per_hour * 24 / len(blocks)))
    return History(blocks * many, len(blocks) * many / per_hour * 3600.0)


def _chosen(workloads: Sequence[Workload], container: str | None) -> list[Workload]:
    if container is None:
        return list(workloads)
    names = {f"{one.manifest.name}/{one.spec.container}": one for one in workloads}
    chosen = [one for name, one in names.items() if container in (name, one.spec.container)]
    if not chosen:
        raise BadInput(f"--container {container}: there is none of that name", f"there are: {', '.join(names)}")
    return chosen


def _change(workloads: Sequence[Workload], history: History, write: bool) -> None:
    changes = [(one, probe) for one in workloads if (probe := suggest(one.spec, history)) is not None]
    if not changes:
        click.echo("Nothing to change: no recorded stall can restart these containers, or no setting tried can help.")
    for one, probe in changes:
        if not write:
            click.echo(patch(one, probe).rstrip())
            continue
        done = rewrite(one, probe)
        if done.refused:
            click.echo(f"{one.spec.path}: not changed: {done.refused}. Apply this patch in its place:", err=True)
            click.echo(patch(one, probe).rstrip())
        else:
            click.echo(f"{one.spec.path}: {units.plural(done.lines, 'line')} changed: liveness {label(probe)}")


def _screen(
    found: Sequence[tuple[Workload, list[Advice], list[Forecast]]], history: History | None, blocks: tuple[float, ...]
) -> list[str]:
    lines = [f"{one.path}:{one.line}  {one.rule}  {one.text}" for _, advice, _ in found for one in advice]
    for workload, _, table in found:
        spec = workload.spec
        probe = spec.probe(ProbeType.LIVENESS)
        lines += ["", f"{workload.manifest.kind.lower()}/{workload.manifest.name}  container {spec.container}"]
        if probe is None:
            lines.append("  no liveness probe: a block is never restarted, and a dead pod is never found")
            continue
        lines.append(f"  liveness {asked(probe)}: {settings(probe)}")
        if not odds.asks_the_loop(probe):
            lines.append("  it passes on a blocked loop: a block is never restarted, and a dead loop is never found")
            continue
        lines += _curve(workload) if history is None else _odds(workload, blocks)
        lines += _table(table, history) if history is not None and table else []
    return lines[1:] if lines and not lines[0] else lines


def _odds(workload: Workload, blocks: tuple[float, ...]) -> list[str]:
    return [
        f"  restart probability per {units.moment(block)} block: "
        f"{units.measure(Measure(odds.restart_probability(workload.spec, block), 'probability'))}"
        for block in dict.fromkeys(blocks)
    ]


def _curve(workload: Workload) -> list[str]:
    spec = workload.spec
    return [
        f"  survives every block up to {units.moment(odds.longest_survived_s(spec))}; "
        f"finds a dead pod within {units.moment(odds.found_within_s(spec))}",
        *_odds(workload, tuple(block for block, _ in odds.curve(spec))),
    ]


def _table(table: Sequence[Forecast], history: History) -> list[str]:
    rates = history.watched_s is not None
    many = units.plural(len(history.lengths_s), "stall")
    seen = f" in {units.seconds(history.watched_s)} of watching one pod" if history.watched_s else ""
    head = ["liveness setting", "restarts per pod and day (95 %)" if rates else "restarts per stall"]
    rows = [[*head, *(["not ready"] if rates else []), "finds a dead pod in"]]
    for one in table:
        cost = _rate(one.restarts_per_day) if one.restarts_per_day else f"{one.per_stall:.2f}"
        share = [] if one.unready is None else [f"{one.unready * 100:.2f} %"]
        mark = "  <- suggested" if one.suggested else ""
        rows.append([one.label, cost, *share, units.moment(one.found_within_s) + mark])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    printed = ["    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    unknown = [] if rates else ["  Nobody recorded for how long it was watched: odds per stall, no rates."]
    return [f"  against {many}{seen}", *unknown, *(line.rstrip() for line in printed), *_after(table, history)]


def _rate(measure: Measure) -> str:
    if measure.low is None or measure.high is None or measure.value is None:
        return units.measure(measure)
    return f"{measure.value:,.1f} ({measure.low:,.1f} to {measure.high:,.1f})"


def _after(table: Sequence[Forecast], history: History) -> list[str]:
    longest = max(history.lengths_s, default=0.0)
    if any(one.suggested for one in table):
        return [
            f"  Wider probes hide the stalls from Kubernetes, not from your users: the longest is "
            f"{units.seconds(longest)} all the same."
        ]
    if table and table[0].per_stall == 0:
        return ["  No stall here can restart it as it is set now."]
    return []


def _row(workload: Workload, advice: list[Advice], table: list[Forecast], blocks: tuple[float, ...]) -> dict[str, Any]:
    spec = workload.spec
    found_within = odds.found_within_s(spec)
    return {
        "path": spec.path,
        "line": spec.line,
        "workload": f"{workload.manifest.kind.lower()}/{workload.manifest.name}",
        "container": spec.container,
        "findings": [{"rule": one.rule, "path": one.path, "line": one.line, "text": one.text} for one in advice],
        "found_within_s": found_within if math.isfinite(found_within) else None,
        "blocks": [
            {"block_s": block, "restart_probability": odds.restart_probability(spec, block)}
            for block in blocks or [point for point, _ in odds.curve(spec)]
        ],
        "settings": [_setting(one) for one in table],
    }


def _setting(one: Forecast) -> dict[str, Any]:
    rate = one.restarts_per_day
    return {
        "label": one.label,
        "timeout_s": one.probe.timeout_s if one.probe else None,
        "failure_threshold": one.probe.failure_threshold if one.probe else None,
        "restarts_per_stall": one.per_stall,
        "restarts_per_pod_day": {"value": rate.value, "low": rate.low, "high": rate.high} if rate else None,
        "not_ready_share": one.unready,
        "found_within_s": one.found_within_s if math.isfinite(one.found_within_s) else None,
        "suggested": one.suggested,
    }
