"""`unstall probe`: what the probes of a manifest do to a pod whose loop blocks, and what to set in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click

from unstall import units
from unstall.cli.probe_text import Judged, as_json, as_text
from unstall.errors import BadInput
from unstall.kubelet.recording import Recording, read_recording
from unstall.probe import server
from unstall.probe.advise import Known, advise
from unstall.probe.forecast import History, forecasts
from unstall.probe.rewrite import Rewritten, as_patch, rewrite
from unstall.probe.served import Served, served
from unstall.probe.suggestion import CannotWrap, Suggestion, suggestion, with_watch
from unstall.probe.workload import Workload, read_workloads


def length_s(text: str) -> float:
    """Seconds of ``25s``, ``500ms``, ``1m30s`` or a bare number. Raises `click.BadParameter`."""
    found = re.fullmatch(r"(?:(\d+)(?:m|min))?(?:(\d+(?:\.\d+)?)(ms|s)?)?", text.replace(" ", ""))
    if not text.strip() or found is None:
        raise click.BadParameter(f"{text!r} is not a length of time; write 25s, 500ms or 1m30s")
    small = float(found[2] or 0) * (0.001 if found[3] == "ms" else 1.0)
    return int(found[1] or 0) * 60 + small


@click.command(name="probe")
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option(
    "--stalls",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Stalls that `watch` recorded: a file or a folder; several pods by naming it again.",
)
@click.option("--block", "blocks", type=length_s, multiple=True, metavar="25s", help="What if the loop blocks so long?")
@click.option("--blocks-per-hour", type=click.FloatRange(min=0, min_open=True), help="How often, with --block.")
@click.option("--app", metavar="MODULE:APP", help="Look whether the app has what the probes ask; it is imported.")
@click.option("--container", metavar="NAME", help="Only this container, as app or web/app.")
@click.option("--write", is_flag=True, help="Write the suggestion into the manifest, changing just those lines.")
@click.option("--patch", "patched", is_flag=True, help="Print the suggestion as a strategic-merge patch.")
@click.option(
    "--with-watch",
    "watched",
    is_flag=True,
    help="With --write or --patch: let the probes ask the observer, and wrap the command with `unstall run`.",
)
@click.option("--seed", type=int, default=0, help="Seed of the simulation.")
@click.option("--output-format", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@click.pass_context
def command(
    ctx: click.Context,
    manifests: tuple[str, ...],
    stalls: tuple[Path, ...],
    blocks: tuple[float, ...],
    blocks_per_hour: float | None,
    app: str | None,
    container: str | None,
    write: bool,
    patched: bool,
    watched: bool,
    seed: int,
    output: str,
) -> None:
    """Judge the probes of Kubernetes manifests, and say what to set.

    MANIFEST is a file, a folder, or - for standard input (rendered Helm or kustomize). Exit status 1 when rules
    found something and no calculation was asked for, or when a manifest could not be written.
    """
    if watched and not (write or patched):
        raise BadInput("--with-watch changes manifests", "add --write to write them, or --patch to print a patch")
    recording = _recording(stalls, blocks, blocks_per_hour)
    history = History(recording.lengths_s, recording.watched_s) if recording is not None else None
    workloads = _chosen(read_workloads(manifests), container)
    start_s = recording.slowest_start_s if recording is not None else None
    if patched or write:
        changes = [(one, _change(one, history, start_s, watched)) for one in _to_change(workloads, watched)]
        ctx.exit(_write(changes) if write else _print(changes))
    longest_s = max(history.lengths_s, default=None) if history else None
    known = _known(workloads, app)
    changed = {id(one) for one in _to_change(workloads, watched=False)}
    judged = [
        Judged(
            one,
            tuple(advise(one, Known(longest_s, known.get(id(one))))),
            tuple(forecasts(one.spec, history, seed) if history else ()),
            suggestion(one, history, start_s) if id(one) in changed else Suggestion({}),
        )
        for one in workloads
    ]
    click.echo(as_json(judged, recording, blocks) if output == "json" else as_text(judged, recording, blocks))
    if history is None and any(one.findings for one in judged):
        ctx.exit(1)


def _recording(stalls: tuple[Path, ...], blocks: tuple[float, ...], per_hour: float | None) -> Recording | None:
    if stalls:
        if blocks or per_hour is not None:
            raise BadInput("--stalls and --block exclude each other", "leave one of them out")
        return read_recording(*stalls)
    if per_hour is not None and not blocks:
        raise BadInput("--blocks-per-hour needs --block", "add the length of a block, as in --block 25s")
    if not blocks:
        return None
    if per_hour is None:
        return Recording(blocks, None)
    # A day's worth, at least one of each length.
    many = max(1, round(per_hour * 24 / len(blocks)))
    return Recording(blocks * many, len(blocks) * many / per_hour * 3600.0)


def _chosen(workloads: Sequence[Workload], container: str | None) -> list[Workload]:
    if container is None:
        return list(workloads)
    names = [f"{one.manifest.name}/{one.spec.container}" for one in workloads]
    pairs = zip(names, workloads, strict=True)
    chosen = [one for name, one in pairs if container in (name, one.spec.container)]
    if not chosen:
        raise BadInput(f"--container {container}: there is none of that name", f"there are: {', '.join(names)}")
    return chosen


# --- the app --------------------------------------------------------------------------------------


def _known(workloads: Sequence[Workload], app: str | None) -> dict[int, Served]:
    """Which containers serve the app: those whose command names it, else the only one with probes."""
    if app is None:
        return {}
    naming = [one for one in workloads if any(app in word for word in one.command)]
    probed = [one for one in workloads if one.spec.probes]
    candidates = naming or [one for one in probed if server.server(one).name in server.WATCHED] or probed
    if len(candidates) > 1 and not naming:
        names = ", ".join(f"{one.manifest.name}/{one.spec.container}" for one in candidates)
        raise BadInput(f"--app {app}: which container serves it?", f"name it with --container: {names}")
    look = served(app, Path())
    return {id(one): look for one in candidates}


# --- changing manifests ---------------------------------------------------------------------------


def _to_change(workloads: Sequence[Workload], watched: bool) -> list[Workload]:
    """The containers that a change is meant for: in each pod those that start a server with an event loop, where the
    commands tell, else all that have probes."""

    def pod(one: Workload) -> tuple[str, int, str]:
        return one.spec.path, one.number, one.manifest.field.rpartition(".")[0]

    found: list[Workload] = []
    for _, group in groupby(workloads, key=pod):
        probed = [one for one in group if one.spec.probes]
        serving = [one for one in probed if server.server(one).name in (*server.WATCHED, "python")]
        if watched and len(probed) > 1 and not serving:
            names = ", ".join(one.spec.container for one in probed)
            raise BadInput(f"which of these starts the app: {names}?", "name it with --container")
        found += serving or probed
    return found


def _change(one: Workload, history: History | None, start_s: float | None, watched: bool) -> Suggestion:
    if not watched:
        return suggestion(one, history, start_s)
    try:
        return with_watch(one, history, start_s)
    except CannotWrap as reason:
        where = f"{one.spec.path}:{one.line('command')}"
        raise BadInput(
            f"{where}: container {one.spec.container}: cannot be wrapped: {reason}",
            "write out its command in the manifest, or use watch(app, health_port=...) in the code",
        ) from None


def _print(changes: Iterable[tuple[Workload, Suggestion]]) -> int:
    patches = [as_patch(one, change.patch).rstrip() for one, change in changes if change.patch]
    click.echo("\n".join(patches) if patches else NOTHING)
    return 0


NOTHING = "Nothing to change: no stall given can restart these containers, and their probes lack nothing that is added."


def _write(changes: Sequence[tuple[Workload, Suggestion]]) -> int:
    wanted = [(one, change) for one, change in changes if change.patch]
    refused, wrapped = False, False
    for path, group in groupby(wanted, key=lambda pair: pair[0].spec.path):
        inside = list(group)
        done = rewrite(path, [(one, change.patch) for one, change in inside])
        for (one, change), what in zip(inside, done, strict=True):
            refused |= bool(what.refused)
            wrapped |= not what.refused and "command" in change.patch
            _tell(one, change, what)
    if wrapped:
        click.echo(
            "The image must have unstall in it (pip install unstall), and the command start uvicorn or hypercorn."
        )
    if not wanted:
        click.echo(NOTHING)
    return 1 if refused else 0


def _tell(one: Workload, change: Suggestion, done: Rewritten) -> None:
    if done.refused:
        where = f"{one.spec.path}:{one.line()}: container {one.spec.container}"
        click.echo(f"{where}: not changed: {done.refused}. Apply this patch in its place:", err=True)
        click.echo(as_patch(one, change.patch).rstrip())
        return
    told = "; ".join(change.told)
    click.echo(f"{one.spec.path}: {units.plural(done.lines, 'line')} changed, container {one.spec.container}: {told}")
