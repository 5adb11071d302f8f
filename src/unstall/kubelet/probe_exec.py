"""The kubelet's exec probe: a command in its own process group, of which nothing is left when the probe returns."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping

from unstall.kubelet.wire import Abort, Limits, TimedOut
from unstall.kubelet.wishes import Outcome
from unstall.kubelet.wording import duration, quote

OUTPUT_LIMIT_BYTES = 10 * 1024
REFERENCE = re.compile(r"\$(\$|\([^)]*\))")


def expand(word: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the container's own variables; unknown names and ``$$(NAME)`` stay as text.

    >>> expand("$(A) $(B) $$(A)", {"A": "1"})
    '1 $(B) $(A)'
    """

    def replacement(match: re.Match[str]) -> str:
        found = match.group(1)
        return "$" if found == "$" else env.get(found[1:-1], match.group(0))

    return REFERENCE.sub(replacement, word)


def ask_exec(
    command: tuple[str, ...],
    timeout_s: float,
    env: Mapping[str, str],
    environment: Mapping[str, str] | None,
    directory: str | None,
    abort: Abort | None,
) -> tuple[Outcome, str, str | None]:
    """One try: result, output (standard output and error together), and the prober's own error."""
    words = [expand(word, env) for word in command]
    deadline_at = time.monotonic() + timeout_s
    base = os.environ if environment is None else environment
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**base, **env},
            cwd=directory,
            start_new_session=True,
        )
    except (OSError, ValueError, IndexError) as error:
        return Outcome.UNKNOWN, "", not_started(words, error)
    try:
        output = collect(process, Limits(deadline_at, abort))
    except TimedOut:
        text = f"command timed out: {quote(' '.join(words))} timed out after {duration(timeout_s)}"
        return Outcome.FAILURE, text, None
    finally:
        end_group(process)
    text = output.decode("utf-8", "replace")
    return (Outcome.SUCCESS if process.returncode == 0 else Outcome.FAILURE), text, None


def not_started(words: list[str], error: Exception) -> str:
    """Why the command never ran, as the container runtime says it."""
    name = words[0] if words else ""
    if isinstance(error, FileNotFoundError):
        reason = "executable file not found in $PATH" if "/" not in name else "no such file or directory"
    else:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
    where = quote(name) if "/" not in name else f"stat {name}"
    return f"OCI runtime exec failed: exec failed: unable to start container process: exec: {where}: {reason}"


def collect(process: subprocess.Popen[bytes], limits: Limits) -> bytes:
    """The output up to the limit, read until the command has exited and nobody holds its output any more."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    output = bytearray()
    while True:
        limits.wait(fd, select.POLLIN)
        data = os.read(fd, 65536)
        if not data:
            break
        output += data[: OUTPUT_LIMIT_BYTES - len(output)]
    # The output may be closed long before the exit.
    while process.poll() is None:
        limits.pause(0.005)
    return bytes(output)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever the command left behind, and reap the command itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
