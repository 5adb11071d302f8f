"""What a container's command says of the server it starts: which one, on which port, with how many workers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from unstall.probe.workload import Workload

SHELLS = ("sh", "bash", "ash", "dash", "zsh")
WATCHED = ("uvicorn", "gunicorn", "hypercorn", "fastapi")
"""Servers that ``unstall run`` knows to watch; ``fastapi run`` starts uvicorn."""
UNWATCHED = ("granian", "daphne", "waitress-serve", "uwsgi", "node", "nginx", "java", "redis-server", "postgres")
_PORT = {
    "uvicorn": ("--port",),
    "fastapi": ("--port",),
    "gunicorn": ("--bind", "-b"),
    "hypercorn": ("--bind", "-b"),
}
_VARIABLES = {
    "uvicorn": ("UVICORN_PORT",),
    "fastapi": ("PORT",),
    "gunicorn": ("PORT", "GUNICORN_CMD_ARGS"),
    "hypercorn": (),
}
DEFAULT_PORT = 8000


@dataclass(frozen=True, slots=True)
class Server:
    """``name`` is the first server named in the command, empty where none is; ``words`` are its words, what is given
    to ``sh -c`` taken apart; ``shell`` is true where process 1 is a shell that stays."""

    name: str
    words: tuple[str, ...]
    shell: bool = False


def server(workload: Workload) -> Server:
    """Read the command and arguments of a container."""
    words = [word for text in workload.command for word in _split(text)]
    names = [word.rpartition("/")[2] for word in words]
    known = (*WATCHED, *UNWATCHED)
    name = next((name for name in names if name in known or name == "python" or name.startswith("python3")), "")
    if name.startswith("python"):
        name = next((name for name in names if name in known), "python")
    return Server(name, tuple(words), shell(workload.command) and "exec" not in words)


def shell(command: Sequence[str]) -> bool:
    """Whether a command is ``sh -c ...``."""
    return bool(command) and command[0].rpartition("/")[2] in SHELLS and any(_DASH_C.fullmatch(w) for w in command[1:])


_DASH_C = re.compile(r"-[a-z]*c")


def _split(text: str) -> list[str]:
    if not re.search(r"\s", text):
        return [text]
    try:
        return [word.rstrip(";") for word in shlex.split(text, comments=True)]
    except ValueError:
        return text.split()


def workers(workload: Workload) -> int:
    """How many server processes the command or the environment asks for, 1 where neither says."""
    found = re.search(r"(?:--workers[= ]|-w[= ]?)(\d+)", " ".join(workload.command))
    told = found[1] if found else dict(workload.spec.env).get("WEB_CONCURRENCY", "")
    return max(1, int(told)) if told.isdigit() else 1


def ports(workload: Workload) -> set[int] | None:
    """The ports on which the server listens; None where that cannot be told from the manifest."""
    told = server(workload)
    if told.name not in _PORT:
        return None
    given = [value for flag in _PORT[told.name] for value in _values(told.words, flag)]
    if given:
        found = [re.search(r"(?:^|:)(\d+)$", value) for value in given]
        return {int(one[1]) for one in found if one} if all(found) else None
    variables = dict(workload.spec.env)
    set_elsewhere = bool(workload.container.get("envFrom")) or len(workload.container.get("env") or ()) > len(variables)
    named = [variables[name] for name in _VARIABLES[told.name] if name in variables]
    if named:
        return {int(named[0])} if named[0].isdigit() else None
    if set_elsewhere or (told.name == "gunicorn" and {"-c", "--config"} & set(told.words)):
        return None
    return {DEFAULT_PORT}


def health_port(workload: Workload) -> int | None:
    """The port on which the observer answers, where the command lets it."""
    words = server(workload).words
    told = _values(words, "--health-port") if "unstall" in {word.rpartition("/")[2] for word in words} else []
    told = told or [dict(workload.spec.env).get("UNSTALL_HEALTH_PORT", "")]
    return int(told[0]) if told[0].isdigit() else None


def _values(words: Sequence[str], flag: str) -> list[str]:
    """What is given to a flag, as ``--port 80``, ``--port=80`` or ``-b:80``."""
    values = [after for word, after in zip(words, words[1:], strict=False) if word == flag]
    joined = flag + "=" if flag.startswith("--") else flag
    return values + [word[len(joined) :] for word in words if word.startswith(joined) and word != flag]
