"""`unstall run -- CMD`: start a server as it is, watched."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import click

from unstall.errors import BadInput
from unstall.runtime.inject import environment

# What ends the program itself, or is the kernel's and the terminal's own, is not passed on.
_KEPT = {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGFPE", "SIGILL", "SIGBUS", "SIGABRT", "SIGTRAP", "SIGSYS",
         "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGPIPE", "SIGPROF", "SIGVTALRM", "SIGALRM"}  # fmt: skip
WITNESSES_S = 2.0
"""As PID 1, how long the observers may still write after the server has ended."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Flight recorder: a JSONL file.")
@click.option(
    "--threshold", "threshold_s", type=click.FloatRange(min=0.04), help="Shortest stall reported, in seconds."
)
@click.option("--log", "log_format", type=click.Choice(["text", "json", "off"]), help="How stalls read on stderr.")
@click.option(
    "--health-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Answer /livez, /readyz, /startupz, /metrics and /stalls there, from a process of its own.",
)
@click.option(
    "--dead-after",
    "dead_after_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="When /livez fails: this long without a sign of the event loop. Default: 60.",
)
@click.option(
    "--busy-after",
    "busy_after_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="When /readyz fails: this long blocked, or without a free thread. Default: 2.",
)
@click.argument("command_line", nargs=-1, required=True, metavar="-- CMD...", type=click.UNPROCESSED)
def command(
    record: Path | None,
    threshold_s: float | None,
    log_format: str | None,
    health_port: int | None,
    dead_after_s: float | None,
    busy_after_s: float | None,
    command_line: tuple[str, ...],
) -> None:
    """Start a server as it is, watched: every stall of its event loop is named while it lasts.

    Works for uvicorn, gunicorn with uvicorn workers, hypercorn and any Python program that starts one of them.
    Signals are passed on, children are reaped, the exit status is the command's own.

    \b
      unstall run -- uvicorn app.main:app --workers 2
      unstall run --record /var/log/stalls.jsonl -- python -m app
    """
    added = environment(record, threshold_s)
    if log_format is not None:
        added["UNSTALL_LOG"] = log_format
    for name, number in (("HEALTH_PORT", health_port), ("DEAD_AFTER", dead_after_s), ("BUSY_AFTER", busy_after_s)):
        if number is not None:
            added[f"UNSTALL_{name}"] = repr(number)
    sys.exit(run(list(command_line), {**os.environ, **added}))


def run(command_line: list[str], surroundings: dict[str, str]) -> int:
    """Run to the end, standing in for the command; its exit status, 128 + the signal's number where one ended it.

    Raises:
        BadInput: there is no such program.
    """
    program = shutil.which(command_line[0])
    if program is None:
        raise BadInput(f"cannot run {command_line[0]}: no such program", "name a program after `--`")
    signals = {s for s in signal.valid_signals() if getattr(s, "name", "SIGRT") not in _KEPT}
    # Blocked and waited for, so that none is lost and each tells who sent it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals | {signal.SIGCHLD})
    try:
        child = os.posix_spawn(
            program, command_line, surroundings, setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ]
        )
    except OSError as error:
        raise BadInput(f"cannot run {command_line[0]}: {error.strerror}") from None
    while True:
        received = signal.sigwaitinfo(signals | {signal.SIGCHLD})
        if received.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                _await_witnesses()
                return status
        elif received.si_code <= 0:  # sent by a process: what the terminal sends, the command gets itself
            os.kill(child, received.si_signo)


def _reap(child: int) -> int | None:
    """Collect all that have ended; the command's status once it is among them."""
    status: int | None = None
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            code = os.waitstatus_to_exitcode(raw)
            status = code if code >= 0 else 128 - code


def _await_witnesses() -> None:
    """PID 1's end ends all others: let the observers write what they saw first."""
    until = time.monotonic() + WITNESSES_S
    while os.getpid() == 1 and time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return
