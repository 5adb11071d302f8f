"""The pytest plugin: a test during which something blocks the event loop fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from unstall.pytest_plugin.session import Local, Session

# Loaded by every pytest of the environment, used by few: nothing else is imported before somebody asks for it.

_OPTIONS = (
    ("unstall_allow", "args", "calls or rules that may block anywhere: UNS104 requests.* (pytest plugin unstall)"),
    ("unstall_own", "args", "packages or folders that are yours although they are installed (unstall)"),
    (
        "unstall_directories",
        "linelist",
        "settings by folder: `tests/legacy = off`, `tests/slow = allow UNS103` (unstall)",
    ),
    ("unstall_budget", "string", "fail a test that blocks the loop for longer, in seconds; none by default (unstall)"),
    (
        "unstall_stall_warning",
        "string",
        "warn of a stall that no blocking call explains, in seconds; 0 for never (unstall)",
    ),
    ("unstall_baseline", "string", "file of accepted calls; it only ever shrinks (unstall)"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags and the ini keys."""
    group = parser.getgroup("unstall", "blocking calls on the event loop (unstall)")
    group.addoption("--unstall", action="store_true", default=None, help="fail tests that block the event loop")
    group.addoption("--no-unstall", action="store_false", dest="unstall", help="do not, whatever the ini file says")
    group.addoption("--unstall-notes", action="store_true", default=None, help="short calls too, as open()")
    group.addoption("--unstall-budget", metavar="S", help="fail tests that block the loop for longer than this")
    group.addoption("--unstall-baseline", metavar="FILE", help="file of accepted calls")
    group.addoption(
        "--unstall-write-baseline", action="store_true", help="accept what blocks today, or drop what is gone"
    )
    parser.addini("unstall", "fail tests that block the event loop", type="bool", default=False)
    parser.addini("unstall_notes", "short calls too, as open() (unstall)", type="bool", default=False)
    for name, kind, about in _OPTIONS:
        parser.addini(name, about, type=kind, default=[] if kind != "string" else "")  # type: ignore[arg-type]


def enabled(options: Any, config: pytest.Config) -> bool:
    """True where a flag or else the ini file asks for it."""
    asked = getattr(options, "unstall", None)
    if getattr(options, "unstall_write_baseline", False) and asked is None:
        return True
    return bool(config.getini("unstall")) if asked is None else bool(asked)


def notes(options: Any, config: pytest.Config) -> bool:
    """True where short calls are to be told of too."""
    return bool(getattr(options, "unstall_notes", None) or config.getini("unstall_notes"))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Put the wrappers in place before the project's own modules take names out of the standard library's."""
    if enabled(early_config.known_args_namespace, early_config):
        from unstall.errors import BadInput
        from unstall.pytest_plugin.watching import WATCH

        try:
            WATCH.install(early_config.rootpath, notes(early_config.known_args_namespace, early_config))
        except BadInput as error:
            raise pytest.UsageError(str(error)) from None


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known; start where it is asked for."""
    config.addinivalue_line(
        "markers",
        'unstall(allow="requests.get", reason=None, enabled=True, budget=None): '
        "what may block the event loop in this test, or False for anything",
    )
    if enabled(config.option, config):
        _session(config)


def _session(config: pytest.Config) -> Session:
    """The plugin that does the work, registered once."""
    from unstall.pytest_plugin.session import Session

    known: Session | None = config.pluginmanager.get_plugin("unstall-session")
    if known is None:
        known = Session(config, everywhere=enabled(config.option, config))
        config.pluginmanager.register(known, "unstall-session")
    return known


@pytest.fixture
def unstall(request: pytest.FixtureRequest) -> Iterator[Local]:
    """Watches this test for blocking calls, whether or not the whole run is watched: it fails if there are any."""
    yield from _session(request.config).local(request)
