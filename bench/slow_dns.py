"""A name server on this machine that takes its time, and how to have one process ask it."""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

DELAY_S = 0.3
NO_SUCH_NAME = 3


class SlowNames(threading.Thread):
    """Knows no name, and says so after `DELAY_S`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.start()

    def run(self) -> None:
        while True:
            question, who = self.socket.recvfrom(1000)
            threading.Thread(target=self._answer, args=(question, who), daemon=True).start()

    def _answer(self, question: bytes, who: tuple[str, int]) -> None:
        time.sleep(DELAY_S)
        self.socket.sendto(question[:2] + bytes([0x81, 0x80 | NO_SUCH_NAME]) + question[4:], who)


def asking_slowly(folder: Path) -> list[str]:
    """What to put before a command so that it asks the slow server and no other; empty where that may not be."""
    names = folder / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:1 single-request\n")
    prepare = f"mount --bind {shlex.quote(str(names))} /etc/resolv.conf"
    try:
        SlowNames()
        tried = subprocess.run(["unshare", "-m", "sh", "-c", prepare], capture_output=True, check=False)
    except OSError:
        return []
    return ["unshare", "-m", "sh", "-c", f'{prepare} && exec "$@"', "sh"] if tried.returncode == 0 else []
