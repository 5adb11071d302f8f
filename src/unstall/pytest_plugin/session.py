"""One pytest session: whose test it is that blocks, whether that is allowed, and what is said of it."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from unstall.errors import BadInput
from unstall.model import Finding
from unstall.pytest_plugin import notes, settings, text
from unstall.pytest_plugin.accepted import Accepted
from unstall.pytest_plugin.chains import Reader, counts
from unstall.pytest_plugin.comments import Comments
from unstall.pytest_plugin.listening import EAR, Told
from unstall.pytest_plugin.owned import own_files
from unstall.pytest_plugin.settings import Terms
from unstall.pytest_plugin.stalls import Stalled as Stall
from unstall.pytest_plugin.stalls import Watcher
from unstall.pytest_plugin.text import Blocked, Overdue, Stalled
from unstall.pytest_plugin.watching import WATCH

DEFAULT_WARNING_S = 1.0


class StallWarning(pytest.PytestWarning):
    """The event loop did not come round for long, and no blocking call explains it."""


class Test:
    """One test while it runs."""

    __test__ = False

    def __init__(self, name: str, nodeid: str, terms: Terms, watched: bool) -> None:
        self.name, self.nodeid, self.terms, self.watched = name, nodeid, terms, watched
        self.phase = "setup"
        self.found: list[Finding] = []
        self.blocked: dict[str, Blocked] = {}
        self.overdue: list[Overdue] = []
        self.calls: list[tuple[float, float]] = []

    def add(self, finding: Finding, took_s: float) -> None:
        """Remember a call that fails the test; the same line again only counts."""
        key = f"{finding.key}:{finding.site.line}"
        known = self.blocked.get(key)
        self.blocked[key] = (
            Blocked(finding, took_s, 1, self.phase)
            if known is None
            else Blocked(known.finding, max(known.longest_s, took_s), known.times + 1, known.phase)
        )

    def failure(self) -> Stalled | None:
        """What has gathered, once."""
        if not self.blocked and not self.overdue:
            return None
        stalled = Stalled(self.name, self.blocked.values(), self.overdue)
        self.blocked, self.overdue = {}, []
        return stalled


class Local:
    """What the fixture ``unstall`` gives to a test."""

    def __init__(self, test: Test) -> None:
        self._test = test

    @property
    def calls(self) -> tuple[Finding, ...]:
        """The blocking calls heard in this test so far, allowed ones included."""
        return tuple(self._test.found)

    @contextlib.contextmanager
    def allow(self, *calls: str) -> Iterator[None]:
        """Calls or rules that may block in this block: ``with unstall.allow("requests.get"): ...``."""
        before = self._test.terms
        self._test.terms = Terms(before.enabled, before.allow + calls, before.budget_s)
        try:
            yield
        finally:
            self._test.terms = before


class Session:
    """Registered as a plugin where somebody asks for it. ``everywhere`` watches every test, else only those that say so."""

    def __init__(self, config: pytest.Config, everywhere: bool) -> None:
        self.config, self.everywhere = config, everywhere
        self.root: Path = config.rootpath
        self.is_worker = hasattr(config, "workerinput")
        try:
            told_short = notes(config.option, config)
            WATCH.install(self.root, told_short)
            self._read_settings()
            self.accepted = Accepted(config)
        except BadInput as error:
            raise pytest.UsageError(str(error)) from None
        assert WATCH.rows is not None
        self.reader = Reader(str(self.root), own_files(config), WATCH.rows, told_short)
        self.comments = Comments(self.root)
        self.test: Test | None = None
        self.outside: dict[str, str] = {}
        self.faults: dict[str, None] = {}
        self.watcher: Watcher | None = None
        self._lock = threading.Lock()
        WATCH.enter()
        EAR.listeners.append(self.heard)

    def _read_settings(self) -> None:
        config = self.config
        budget = config.getoption("unstall_budget") or config.getini("unstall_budget")
        self.terms = Terms(
            True, tuple(config.getini("unstall_allow")), settings.seconds_of(str(budget), "unstall_budget")
        )
        self.folders = settings.folders_of(config.getini("unstall_directories"))
        warning_s = settings.seconds_of(config.getini("unstall_stall_warning"), "unstall_stall_warning")
        self.warning_s = DEFAULT_WARNING_S if warning_s is None else warning_s

    # --- which test --------------------------------------------------------------------------------------

    def begin(self, item: pytest.Item) -> Test:
        """A test starts; what blocks from now on is its."""
        path = item.path.relative_to(self.root).as_posix() if item.path.is_relative_to(self.root) else str(item.path)
        terms = settings.in_folder(self.terms, self.folders, path)
        try:
            terms = settings.marked(terms, reversed(list(item.iter_markers("unstall"))))
        except BadInput as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        self.test = Test(item.name, item.nodeid, terms, self.everywhere)
        if self.everywhere:
            self._watch_stalls(terms)
        return self.test

    def local(self, request: pytest.FixtureRequest) -> Iterator[Local]:
        """Watch the test that asks for the fixture."""
        test = self.test
        if test is None or test.nodeid != request.node.nodeid:
            test = self.begin(request.node)
        test.watched = True
        self._watch_stalls(test.terms)
        yield Local(test)

    def _watch_stalls(self, terms: Terms) -> None:
        wanted = [s for s in (self.warning_s, terms.budget_s) if s]
        if wanted and (self.watcher is None or min(wanted) < self.watcher.shortest_s):
            if self.watcher is not None:
                self.watcher.stop()
            self.watcher = Watcher(WATCH.loops, min(wanted), self.stalled)
            self.watcher.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """From setup to teardown of one test."""
        try:
            self.begin(item)
            return (yield)
        finally:
            self.test = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Any:
        """What blocks in a fixture fails the test that needs it, after that has run."""
        return (yield from self._phase(item, "setup", raises=False))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """The test itself."""
        return (yield from self._phase(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Any:
        """What blocks in a fixture's end is an error in the teardown."""
        return (yield from self._phase(item, "teardown"))

    def _phase(self, item: pytest.Item, phase: str, raises: bool = True) -> Any:
        test = self.test
        if test is not None:
            test.phase = phase
        try:
            result = yield
        except BaseException as error:
            stalled = self._settled()
            if stalled is not None and not isinstance(error, pytest.skip.Exception):
                item.add_report_section(phase, "unstall", str(stalled))
            raise
        if raises:
            stalled = self._settled()
            if stalled is not None:
                raise stalled
        return result

    def _settled(self) -> Stalled | None:
        if self.watcher is not None:
            self.watcher.settle()
        return self.test.failure() if self.test is not None else None

    # --- what is heard -----------------------------------------------------------------------------------

    def heard(self, told: Told, frame: FrameType, started_at: float, ended_at: float) -> None:
        """A call blocked a loop; on the loop's thread. Nothing may be raised into the code under test."""
        test = self.test
        if test is not None and not test.watched:
            return
        try:
            if test is not None:
                test.calls.append((started_at, ended_at))
            elif not self.everywhere:
                return
            name = test.name if test is not None else "outside"
            finding = self.reader.finding(told, frame, name, WATCH.loops.boundary())
            if finding is not None:
                self._judge(test, finding, ended_at - started_at)
        except Exception as error:
            self.faults[f"{type(error).__name__}: {error}"] = None

    def _judge(self, test: Test | None, finding: Finding, took_s: float) -> None:
        if not WATCH.selects(finding.rule) or self.comments.silence(finding):
            return
        if test is None:
            self.outside[finding.key] = f"{finding.rule} {text.spoken(finding)}  {text.place(finding.site)}"
            return
        test.found.append(finding)
        if test.terms.enabled and not test.terms.allows(finding) and not self.accepted.take(finding):
            test.add(finding, took_s)

    def stalled(self, stall: Stall) -> None:
        """A loop did not come round; on the watcher's thread."""
        test = self.test
        if test is None or not test.watched or not test.terms.enabled:
            return
        explained_s = sum(
            max(0.0, min(ended_at, stall.ended_at) - max(started_at, stall.started_at))
            for started_at, ended_at in test.calls
        )
        if explained_s >= stall.blocked_s / 2 or not counts(stall.places, self.reader.own):
            return
        own = [p for p in stall.places if p[1] in self.reader.own] or list(stall.places[:1])
        sites = tuple(self.reader.site_of(path, line, name) for _, path, line, name in own)
        budget_s = test.terms.budget_s
        if budget_s is not None and stall.blocked_s > budget_s:
            test.overdue.append(Overdue(stall.blocked_s, budget_s, sites, test.phase))
        elif self.warning_s and stall.blocked_s >= self.warning_s:
            self._warn(test, Overdue(stall.blocked_s, self.warning_s, sites, test.phase))

    def _warn(self, test: Test, overdue: Overdue) -> None:
        # Recorded, not issued: with `-W error` a slow machine would fail the test.
        site = overdue.sites[0] if overdue.sites else None
        message = warnings.WarningMessage(
            StallWarning(text.stall_line(overdue)),
            StallWarning,
            str(self.root / site.path) if site else test.nodeid,
            site.line if site else 0,
        )
        self.config.hook.pytest_warning_recorded.call_historic(
            kwargs={"warning_message": message, "nodeid": test.nodeid, "when": "runtest", "location": None}
        )

    # --- what is said ------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Our own failures are printed as they are, without a traceback through pytest."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, Stalled) and report.failed:
            report.longrepr = _shown(call.excinfo.value, item)
        return report

    def pytest_report_header(self) -> str | None:
        """Said once, so that a failure is no surprise."""
        return "unstall: a test that blocks the event loop fails" if self.everywhere else None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what a worker has seen; write the baseline."""
        if self.watcher is not None:
            self.watcher.stop()
            self.watcher = None
        if self.is_worker:
            outcome = {"seen": sorted(self.accepted.seen), "outside": self.outside, "faults": list(self.faults)}
            self.config.workeroutput["unstall"] = outcome  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """What one of xdist's workers has seen."""
        outcome = getattr(node, "workeroutput", {}).get("unstall")
        if outcome is None:
            self.accepted.incomplete = True
            return
        self.accepted.seen.update(outcome["seen"])
        self.outside.update(outcome["outside"])
        self.faults.update(dict.fromkeys(outcome["faults"]))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Some tests did not run: what the baseline has may be theirs."""
        self.accepted.incomplete = self.accepted.incomplete or bool(items)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """What belongs to no test."""
        try:
            lines = list(self.accepted.close(exitstatus))
        except BadInput as error:
            lines = [str(error)]
        lines += [f"outside of any test: {said}" for said in sorted(self.outside.values())]
        lines += [f"please report a fault of unstall: {fault}" for fault in self.faults]
        if lines:
            terminalreporter.section("unstall")
            for line in lines:
                terminalreporter.line(line)

    def pytest_unconfigure(self) -> None:
        """Put everything back."""
        if self.heard in EAR.listeners:
            EAR.listeners.remove(self.heard)
            WATCH.leave()


def _shown(stalled: Stalled, item: pytest.Item) -> Any:
    from _pytest._code.code import ExceptionChainRepr, ReprEntryNative, ReprFileLocation, ReprTraceback

    path, line, _ = item.location
    entry = ReprEntryNative([f"E   {text}\n" for text in stalled.lines()])
    crash = ReprFileLocation(str(path), (line or 0) + 1, stalled.headline())
    return ExceptionChainRepr([(ReprTraceback([entry], None, "native"), crash, None)])
