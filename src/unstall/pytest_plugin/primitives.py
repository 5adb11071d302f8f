"""The standard library's calls that wait: where each is found, and when it would not wait after all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import re
import select
import selectors
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from unstall.pytest_plugin.listening import Told, always, wrapped, wrapped_lock, wrapped_select
from unstall.pytest_plugin.patches import Patches

Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]
Waits = Callable[[Arguments, Keywords], bool]

_ADDRESS = re.compile(r"[\d.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.%\w]*")


def install(patches: Patches) -> None:
    """Wrap every primitive that this interpreter has."""
    for holder, name, told in _calls():
        original = getattr(holder, name, None)
        if original is not None:
            patches.attribute(holder, name, wrapped(told, original))
    for lock in {type(threading.Lock()), type(threading.RLock())}:
        kind = "Lock" if lock is type(threading.Lock()) else "RLock"
        told = Told(f"threading.{kind}().acquire", proved=True)
        for name in ("acquire", "acquire_lock", "__enter__"):
            if name in vars(lock):
                patches.attribute(lock, name, wrapped_lock(told, vars(lock)[name], name == "__enter__"))
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"):
        selector = getattr(selectors, name, None)
        if selector is not None:
            told = Told(f"selectors.{name}().select", _given("timeout", 1))
            patches.attribute(selector, "select", wrapped_select(told, selector.select))


def _calls() -> Iterator[tuple[Any, str, Told]]:
    yield time, "sleep", Told("time.sleep", _given("seconds", 0))
    for name in ("pause", "sigwait", "sigwaitinfo"):
        yield signal, name, Told(f"signal.{name}")
    yield signal, "sigtimedwait", Told("signal.sigtimedwait", _given("timeout", 1))
    yield from _of_sockets()
    yield from _of_processes()
    yield from _of_threads()
    yield from _of_files()
    yield from _of_sqlite()


def _of_sockets() -> Iterator[tuple[Any, str, Told]]:
    for name in ("connect", "connect_ex", "send", "sendall", "sendto", "sendmsg"):
        yield socket.socket, name, Told(f"socket.socket().{name.removesuffix('_ex')}", _sends)
    for name, flags_at in (("recv", 2), ("recvfrom", 2), ("recv_into", 3), ("recvfrom_into", 3), ("recvmsg", 3)):
        yield socket.socket, name, Told(f"socket.socket().{name}", partial(_receives, flags_at))
    yield socket.socket, "recvmsg_into", Told("socket.socket().recvmsg_into", partial(_receives, 3))
    yield socket.socket, "accept", Told("socket.socket().accept", _handshakes)
    for name in ("do_handshake", "read", "write", "unwrap"):
        yield ssl.SSLSocket, name, Told(f"ssl.SSLSocket().{name}", _handshakes)
    yield socket, "getaddrinfo", Told("socket.getaddrinfo", _asks_resolver)
    for name in ("gethostbyname", "gethostbyname_ex"):
        yield socket, name, Told(f"socket.{name}", _asks_resolver)
    for name in ("gethostbyaddr", "getnameinfo"):
        yield socket, name, Told(f"socket.{name}", _asks_for_name)
    yield select, "select", Told("select.select", _given("timeout", 3))
    if hasattr(select, "poll"):
        yield type(select.poll()), "poll", Told("select.poll().poll", _given("timeout", 0, 1))


def _of_processes() -> Iterator[tuple[Any, str, Told]]:
    for name in ("wait", "communicate"):
        yield subprocess.Popen, name, Told(f"subprocess.Popen().{name}", _runs)
    for name in ("system", "wait"):
        yield os, name, Told(f"os.{name}")
    for name, position in (("waitpid", 1), ("wait4", 1), ("wait3", 0), ("waitid", 2)):
        yield os, name, Told(f"os.{name}", partial(_without_flag, position, os.WNOHANG))
    for name in ("flock", "lockf"):
        yield fcntl, name, Told(f"fcntl.{name}", partial(_without_flag, 1, fcntl.LOCK_NB | fcntl.LOCK_UN))


def _of_threads() -> Iterator[tuple[Any, str, Told]]:
    yield threading.Condition, "wait", Told("threading.Condition().wait", _given("timeout", 1), proved=True)
    yield threading.Thread, "join", Told("threading.Thread().join", _alive, proved=True)
    yield queue.SimpleQueue, "get", Told("queue.SimpleQueue().get", _empty, proved=True)


def _of_files() -> Iterator[tuple[Any, str, Told]]:
    for name in ("fsync", "fdatasync", "sync"):
        yield os, name, Told(f"os.{name}")
    # The raw file below every other one: each call is a system call, what buffers and text layers ask for included.
    for name in ("read", "readall", "readinto"):
        yield _raw_file(), name, Told("open().read", _has_peer, proved=True)
    for name in ("read", "readv"):
        yield os, name, Told("os.read", _descriptor_has_peer, proved=True)
    yield sys.modules["builtins"], "input", Told("input")


def _of_sqlite() -> Iterator[tuple[Any, str, Told]]:
    yield sqlite3, "connect", Told("sqlite3.connect")
    for name in ("execute", "executemany", "executescript", "backup", "commit", "rollback"):
        waits = _in_transaction if name in ("commit", "rollback") else always
        yield sqlite3.Connection, name, Told(f"sqlite3.Connection().{name}", waits)
    for name in ("execute", "executemany", "executescript", "fetchone", "fetchmany", "fetchall"):
        yield sqlite3.Cursor, name, Told(f"sqlite3.Cursor().{name}")


def _raw_file() -> type:
    from io import FileIO

    return FileIO


# --- would this call wait? ------------------------------------------------------------------------------


def _value(keyword: str, position: int, arguments: Arguments, keywords: Keywords, default: Any = None) -> Any:
    if keyword in keywords:
        return keywords[keyword]
    return arguments[position] if len(arguments) > position else default


def _given(keyword: str, *positions: int) -> Waits:
    """Waits unless the time given is nothing."""

    def waits(arguments: Arguments, keywords: Keywords) -> bool:
        value = _value(keyword, positions[-1], arguments, keywords)
        return not (isinstance(value, int | float) and value == 0)

    return waits


def _receives(flags_at: int, arguments: Arguments, keywords: Keywords) -> bool:
    flags = _value("flags", flags_at, arguments, keywords, 0)
    return bool(arguments[0].gettimeout() != 0) and not (isinstance(flags, int) and flags & socket.MSG_DONTWAIT)


def _handshakes(arguments: Arguments, keywords: Keywords) -> bool:
    return bool(arguments[0].gettimeout() != 0)


def _sends(arguments: Arguments, keywords: Keywords) -> bool:
    """A datagram is handed to the kernel, which keeps or drops it: nobody waits."""
    return bool(arguments[0].gettimeout() != 0 and arguments[0].type != socket.SOCK_DGRAM)


def _asks_resolver(arguments: Arguments, keywords: Keywords) -> bool:
    host = _value("host", 0, arguments, keywords)
    if isinstance(host, bytes):
        host = host.decode("latin-1")
    flags = _value("flags", 5, arguments, keywords, 0)
    return bool(host) and not flags & socket.AI_NUMERICHOST and not _ADDRESS.fullmatch(str(host))


def _asks_for_name(arguments: Arguments, keywords: Keywords) -> bool:
    flags = arguments[1] if len(arguments) > 1 else 0
    return not flags & socket.NI_NUMERICHOST


def _runs(arguments: Arguments, keywords: Keywords) -> bool:
    return arguments[0].returncode is None and keywords.get("timeout") != 0


def _without_flag(position: int, flag: int, arguments: Arguments, keywords: Keywords) -> bool:
    given = arguments[position] if len(arguments) > position else 0
    return not (isinstance(given, int) and given & flag)


def _alive(arguments: Arguments, keywords: Keywords) -> bool:
    return bool(arguments[0].is_alive()) and _value("timeout", 1, arguments, keywords) != 0


def _empty(arguments: Arguments, keywords: Keywords) -> bool:
    block = _value("block", 1, arguments, keywords, True)
    return bool(block) and _value("timeout", 2, arguments, keywords) != 0 and bool(arguments[0].empty())


def _has_peer(arguments: Arguments, keywords: Keywords) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return _waits_for_peer(arguments[0].fileno())
    return False


def _descriptor_has_peer(arguments: Arguments, keywords: Keywords) -> bool:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return _waits_for_peer(_value("fd", 0, arguments, keywords))
    return False


def _waits_for_peer(descriptor: int) -> bool:
    """True for a pipe, a socket or a terminal in blocking mode: whoever is at the other end decides."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return False
    return os.get_blocking(descriptor) and (
        stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(descriptor))
    )


def _in_transaction(arguments: Arguments, keywords: Keywords) -> bool:
    return bool(arguments[0].in_transaction)
