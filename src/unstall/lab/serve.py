"""Starts and stops an app as a container would be: own process group, SIGTERM to PID 1, SIGKILL to all.

The app runs under real uvicorn with the watching of `unstall.runtime` inside, which writes what it sees to
a record file. A container runtime signals only the first process and kills whatever is left when that one
is gone; so does this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from unstall.errors import AppNotFound, BadInput
from unstall.runtime import inject

THRESHOLD_S = 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """How to start one app: ``target`` as uvicorn takes it (``app.api:app``), in folder ``folder``."""

    target: str
    folder: Path
    port: int
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    record: Path | None = None
    log: Path = field(default=Path(os.devnull))

    def command(self) -> list[str]:
        """uvicorn's command line; uvicorn's own defaults choose the loop (uvloop where installed)."""
        given = [
            sys.executable,
            "-m",
            "uvicorn",
            self.target,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        return [*given, *self.arguments]


class Container:
    """One life of the server: from `start` to its exit."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, server: Server) -> Container:
        """Start the server in a process group of its own.

        Raises:
            AppNotFound: the interpreter or folder cannot be used.
        """
        environment = {**os.environ, **dict(server.environment)}
        if server.record is not None:
            environment |= inject.environment(server.record, THRESHOLD_S)
        with open(server.log, "ab") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *server.command(),
                    cwd=server.folder,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise AppNotFound(f"cannot start {server.target} in {server.folder}: {error.strerror}") from None
        return cls(process)

    @property
    def pid(self) -> int:
        """The first process, which leads the group."""
        return self._process.pid

    def terminate(self) -> None:
        """SIGTERM to the first process, as the container runtime does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """The exit code as Kubernetes reports it (128 + signal), once all of the group is gone."""
        code = await self._process.wait()
        self.kill()
        return 128 - code if code < 0 else code

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, at most ``grace_s`` seconds of patience, SIGKILL."""
        self.terminate()
        try:
            return await asyncio.wait_for(asyncio.shield(self.wait()), grace_s)
        except TimeoutError:
            return await self.end()
        except asyncio.CancelledError:
            self.kill()
            raise

    async def end(self) -> int:
        """SIGKILL, and wait until it is gone."""
        self.kill()
        return await self.wait()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> int:
    """Check that ``port`` can be listened on.

    Raises:
        BadInput: somebody listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BadInput(
                f"port {port} on 127.0.0.1 cannot be used: {(error.strerror or '').lower()}",
                "choose another with --port, or leave --port out",
            ) from None
    return port


def is_open(port: int) -> bool:
    """Whether somebody accepts connections on ``port`` now."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def last_words(log: Path, lines: int = 12) -> str:
    """The end of a server's output, without the frames of uvicorn, importlib and our own."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(own_frames(text.splitlines())[-lines:])


def own_frames(lines: list[str]) -> list[str]:
    """A traceback without the frames of the interpreter, of libraries and of unstall."""
    kept: list[str] = []
    skipping = False
    for line in lines:
        if line.startswith('  File "'):
            skipping = any(part in line for part in _FOREIGN)
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return kept


_FOREIGN = (
    "<frozen",
    f"{os.sep}site-packages{os.sep}",
    f"{os.sep}dist-packages{os.sep}",
    f"{os.sep}lib{os.sep}python3.",
    f"{os.sep}unstall{os.sep}runtime",
    f"{os.sep}lab{os.sep}inspect_app.py",
)
