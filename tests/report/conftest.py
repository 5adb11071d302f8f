"""A real browser for the report: Debian's chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from unstall.model import LabReport
from unstall.report.page import render

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module: while it is open, an event loop of its own runs in this thread."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: Page
    path: Path
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a report in the browser: ``opened(report, width=1200, color_scheme="dark")``."""
    pages: list[Page] = []

    def open_report(report: LabReport, width: int = 1200, **options: object) -> Opened:
        path = tmp_path / f"report-{len(pages)}.html"
        path.write_text(render(report), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
        pages.append(page)
        it = Opened(page, path)
        page.on("console", lambda message: it.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: it.said.append(str(error)))
        page.on("request", lambda request: it.asked.append(request.url))
        page.goto(path.as_uri())
        return it

    yield open_report
    for page in pages:
        page.close()
