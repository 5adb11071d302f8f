"""The catalogue's word on a call, looked up by a process of its own so that nobody keeps the catalogue loaded."""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LOOK_UP = """
import sys
sys.path.append(sys.argv[1])
from unstall import catalogue
row = catalogue.load().find(sys.argv[2])
if row is not None and row.duration != "0":
    sys.stdout.write(row.rule + "\\n" + " ".join(row.remedy.split()))
"""


class Rules:
    """Rule code and remedy of a call by its origin path; every call is looked up once, without waiting."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str | None, str | None]] = {}
        self._asked: dict[str, tuple[int, int]] = {}

    def ask(self, call: str | None) -> None:
        """Begin to look a call up."""
        if call is None or call in self._known or call in self._asked or len(self._known) > 500:
            return
        started = _start(call)
        if started is None:
            self._known[call] = (None, None)
        else:
            self._asked[call] = started

    def find(self, call: str | None) -> tuple[str | None, str | None] | None:
        """Rule and remedy, each None where the catalogue knows nothing; None while that is being looked up."""
        if call is None:
            return None, None
        asked = self._asked.get(call)
        if asked is not None:
            pid, reader = asked
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                return None
            del self._asked[call]
            self._known[call] = _answer(reader)
        return self._known.get(call, (None, None))


def _start(call: str) -> tuple[int, int] | None:
    reader, writer = os.pipe()
    try:
        arguments = [sys.executable, "-I", "-S", "-c", _LOOK_UP, _ROOT, call]
        quiet = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
        return os.posix_spawn(sys.executable, arguments, os.environ, file_actions=quiet), reader
    except OSError:
        os.close(reader)
        return None
    finally:
        os.close(writer)


def _answer(reader: int) -> tuple[str | None, str | None]:
    with open(reader, "rb") as output:
        text = output.read(2000).decode("utf-8", "replace")
    rule, _, remedy = text.partition("\n")
    return (rule, remedy or None) if rule else (None, None)
