"""What the source had told before the stall was seen."""

from __future__ import annotations

from pathlib import Path

from unstall.lab.predict import with_predictions
from unstall.model import Arm, Experiment, PodTimeline, Site, Stall, Trial, Verdict

APP = """
import time
from fastapi import FastAPI
app = FastAPI()
def render():
    time.sleep(1)
@app.get("/hello")
async def hello():
    render()
    for _ in range(10**9): pass
"""


def experiment(*stalls: Stall) -> Experiment:
    timeline = PodTimeline(10.0, stalls=stalls)
    return Experiment("app", "", (Arm("app", "app:app"),), (Trial("app", 1, timeline),), (), Verdict(True, ""))


def test_a_stall_in_a_helper_is_explained_by_the_chain_that_leads_there(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    seen = Stall(1.0, 1.0, site=Site("app.py", 6, qualname="render"))
    found = with_predictions(experiment(seen), {"app": tmp_path})
    assert [finding.rule for finding in found.findings] == ["UNS101"]
    assert found.notes == ("check had predicted 1 of the 1 call site seen blocking.",)
    assert not (tmp_path / ".unstall_cache").exists()


def test_what_no_row_explains_is_counted_as_not_predicted(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("    render()\n", ""))
    seen = Stall(1.0, 1.0, site=Site("app.py", 9, qualname="hello"))
    found = with_predictions(experiment(seen), {"app": tmp_path})
    assert found.findings == () and found.notes == ("check had predicted 0 of the 1 call site seen blocking.",)


def test_stalls_of_the_machine_and_of_libraries_need_no_prediction(tmp_path: Path) -> None:
    throttled = Stall(1.0, 1.0, site=Site("app.py", 6), blame="environment")
    library = Stall(3.0, 1.0, site=Site("site-packages/x.py", 6))
    assert with_predictions(experiment(throttled, library), {"app": tmp_path}).notes == ()
