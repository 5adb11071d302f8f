"""The stalling app, which from its first `/calm` on lets every request go by as under load."""

from __future__ import annotations

from stalling import app

from unstall.runtime import asgi, beat, mapping


@app.get("/calm")
async def calm() -> dict[str, bool]:
    heart = asgi._here.watch.heart
    beat.ATTENDED = heart._left = 0  # no beat attends to any
    heart.cells[mapping.CALM] = 1.0
    heart.calm = lambda now: None
    asgi.calm(True)
    return {"calm": True}
