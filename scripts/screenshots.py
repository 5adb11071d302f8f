"""Pictures of experiment 3 for the README and the docs, from a real run: `make screenshots`.

Reads a result of `unstall lab --json` where one is given, else runs the lab first (about a minute).
Writes docs/lab-light.png and docs/lab-dark.png.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import sync_playwright

from unstall.records import read_report
from unstall.report.page import render

DOCS = Path(__file__).parent.parent / "docs"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
WIDTH, SHARPNESS = 1200, 1.5


def main() -> None:
    """Picture the page of experiment 3 down to the end of its timeline, in both themes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, help="a result of `unstall lab --json`")
    given = parser.parse_args().result
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("chromium is not installed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "lab.html"
        page.write_text(_experiment_3(given or _run(Path(folder))), encoding="utf-8")
        _picture(page, chromium)


def _run(folder: Path) -> Path:
    result = folder / "lab.json"
    command = [sys.executable, "-m", "unstall", "lab", "--json", str(result), "--html", str(folder / "all.html")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return result


def _experiment_3(result: Path) -> str:
    report = read_report(result)
    return render(replace(report, experiments=tuple(one for one in report.experiments if one.name == "3")))


def _picture(page: Path, chromium: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for theme in ("light", "dark"):
            view = browser.new_page(
                viewport={"width": WIDTH, "height": 900},
                device_scale_factor=SHARPNESS,
                color_scheme="light" if theme == "light" else "dark",
            )
            view.goto(page.as_uri())
            view.add_style_tag(content=".hint { display: none }")
            lanes = view.locator("figure.lanes").first.bounding_box()
            if lanes is None:
                sys.exit("the result has no trial of experiment 3 to picture")
            height = lanes["y"] + lanes["height"] + 32
            path = DOCS / f"lab-{theme}.png"
            view.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
            print(f"{path.relative_to(DOCS.parent)}  {path.stat().st_size / 1000:,.0f} KB")
        browser.close()


if __name__ == "__main__":
    main()
