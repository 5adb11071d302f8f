"""`unstall pods`: why the pods of a cluster were restarted."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from unstall import units
from unstall.errors import BadInput
from unstall.probe import kubectl as live
from unstall.probe import recorded
from unstall.probe.cluster import Snapshot
from unstall.probe.diagnose import Diagnosis, diagnose, logs_wanted
from unstall.probe.opinion import CAUSES

SCHEMA = 1
OTHERS_SHOWN = 5
"""Pods of one workload with the same cause that get a line of their own beside the newest."""


@click.command(name="pods")
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Look in this namespace, not in the context's own.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Look in all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Look at pods with these labels, as in app=shop-api.")
@click.option("--context", metavar="NAME", help="Use this context of the kubeconfig.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1, 600), default=30, help="Seconds for one request.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read a recorded folder (pods-K.json, events-K.json, logs-previous-K.txt) in place of kubectl.",
)
@click.option("--moment", metavar="K", help="Which moment of the recorded folder; the last number where not given.")
@click.option("--output-format", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def command(
    namespace: str | None,
    everywhere: bool,
    selector: str | None,
    context: str | None,
    timeout_s: int,
    folder: Path | None,
    moment: str | None,
    output: str,
) -> None:
    """Say why each container of a cluster was restarted.

    Reads pods, events and logs through your own kubectl and changes nothing. For each container: the cause,
    how sure it is, the evidence and what to do next. Events live one hour on most clusters: what cannot be
    known any more is said.
    """
    if folder is None:
        if moment is not None:
            raise BadInput("--moment needs --from DIR, the recorded folder")
        if everywhere and namespace:
            raise BadInput("-n and -A exclude each other", "leave one of them out")
        asked = live.Kubectl(context, namespace, everywhere, selector, timeout_s)
        snapshot = live.look(asked, logs_wanted)
    else:
        if context or selector or everywhere:
            raise BadInput("--from reads a recorded folder: it takes no --context, --selector or -A")
        snapshot = recorded.look(folder, moment)
    found = diagnose(snapshot, only_workloads=selector is not None)
    if folder is not None and namespace:
        found = [one for one in found if one.namespace == namespace]
    text = as_json(found, snapshot) if output == "json" else as_text(found, snapshot)
    click.echo(text)


def kubectl_main() -> None:
    """Run as ``kubectl unstall``: a plugin is a program called ``kubectl-unstall`` on PATH."""
    from unstall.cli import main

    words = sys.argv[1:]
    main(["pods", *(words[1:] if words[:1] == ["pods"] else words)], prog_name="kubectl unstall")


def as_json(found: Sequence[Diagnosis], snapshot: Snapshot) -> str:
    """Schema 1: one object a container, the restarted ones first; ``gaps`` say what could not be read."""
    rows = [_row(one) for one in found]
    return json.dumps({"schema": SCHEMA, "containers": rows, "gaps": list(snapshot.gaps)}, indent=2)


def _row(one: Diagnosis) -> dict[str, Any]:
    row: dict[str, Any] = {
        "namespace": one.namespace,
        "pod": one.pod,
        "container": one.container,
        "restarts": one.restarts,
        "cause": one.cause,
        "confidence": one.confidence,
        "evidence": list(one.evidence),
        "next": one.next,
        "workload": one.workload,
        "candidates": list(one.candidates),
        "also": list(one.also),
        "ended_at": _stamp(one.at) if one.exit_code is not None else None,
        "exit_code": one.exit_code,
    }
    if one.stall is not None:
        row["stall"] = {"duration_s": one.stall.seconds, "route": one.stall.route, "site": one.stall.site}
    return row


def _stamp(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_text(found: Sequence[Diagnosis], snapshot: Snapshot) -> str:
    """The screen: a block a workload, the worst first, then what was looked at and what could not be read."""
    lines: list[str] = []
    troubled = [one for one in found if one.cause != "healthy"]
    order = list(dict.fromkeys((one.namespace, one.workload) for one in troubled))
    for key in order:
        block = [one for one in troubled if (one.namespace, one.workload) == key]
        lines += [*_block(*key, block), ""]
    lines += _hidden(found)
    lines += [f"Not read: {gap}" for gap in snapshot.gaps]
    return "\n".join([*lines, _summary(found, troubled)])


def _block(namespace: str, workload: str, block: list[Diagnosis]) -> list[str]:
    restarts = sum(one.restarts for one in block)
    causes = dict.fromkeys(one.cause for one in block)
    told = ", ".join(f"{cause} ({sum(one.cause == cause for one in block)})" for cause in causes)
    lines = [f"{workload}  -n {namespace}   {units.plural(restarts, 'restart')} in {_pods(block)}: {told}"]

    def alike(one: Diagnosis) -> tuple[str, ...]:
        return one.cause, one.confidence, one.container, one.next

    for _, group in groupby(sorted(block, key=alike), key=alike):
        newest, *others = sorted(group, key=lambda one: -(one.at or 0.0))
        lines += _full(newest)
        lines += [f"  {_head(one)}   the same" for one in others[:OTHERS_SHOWN]]
        if len(others) > OTHERS_SHOWN:
            lines.append(f"  and {units.plural(len(others) - OTHERS_SHOWN, 'more pod')} with the same cause")
    return lines


def _pods(block: Iterable[Diagnosis]) -> str:
    return units.plural(len({one.pod for one in block}), "pod")


def _head(one: Diagnosis) -> str:
    stamp = (_stamp(one.at) or "").replace("T", " ").replace("Z", "")
    name = f"{one.pod} {one.container}".strip()
    gone = "  (gone)" if one.gone else ""
    return f"{name}  {units.plural(one.restarts, 'restart')}  {stamp}{gone}".rstrip()


def _full(one: Diagnosis) -> list[str]:
    what = CAUSES[one.cause][0]
    if one.stall is not None:
        what = str(one.stall)
    sure = "" if one.cause == "unknown" else f"  ({one.confidence})"
    lines = [f"  {_head(one)}", f"    {one.cause}: {what}{sure}"]
    lines += [f"      - {text}" for text in one.evidence]
    lines += [f"      - also: {', '.join(one.also)}"] if one.also else []
    return [*lines, f"    next: {one.next}"]


def _hidden(found: Sequence[Diagnosis]) -> list[str]:
    """One line for each reason why a healthy container might hide a block."""
    notes: dict[str, int] = {}
    for one in found:
        if one.cause == "healthy":
            for text in one.evidence:
                if "no record" in text:
                    notes[text] = notes.get(text, 0) + 1
    return [f"Note: {units.plural(many, 'healthy container')}: {text}" for text, many in notes.items()]


def _summary(found: Sequence[Diagnosis], troubled: Sequence[Diagnosis]) -> str:
    looked = f"Looked at {units.plural(len(found), 'container')} of {_pods(found)}"
    if not found:
        return f"{looked}: there is nothing here. Choose a namespace with -n, or all with -A."
    if not troubled:
        return f"{looked}: none was restarted."
    unclear = sum(one.cause == "unknown" for one in troubled)
    told = f"{units.count(len(troubled) - unclear)} explained" + (f", {units.count(unclear)} not" if unclear else "")
    return f"{looked}: {told}. Times are UTC."
