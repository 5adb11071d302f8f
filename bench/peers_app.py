"""One of the benchmark's apps under one tool that watches stalls, each set up as its own documentation says.

`APP` names the module, `PEER` the tool (empty for none), `EVIDENCE` the folder it may write to; threshold 100 ms.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

PEER, EVIDENCE = os.environ["PEER"], os.environ["EVIDENCE"]
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
app: Any = importlib.import_module(os.environ["APP"]).app


def aiocop(stack: contextlib.AsyncExitStack) -> None:
    import aiocop

    def tell(event: Any) -> None:
        if event.exceeded_threshold:
            logging.warning("aiocop %s ms %s", event.elapsed_ms, event.blocking_events)

    aiocop.patch_audit_functions()
    aiocop.start_blocking_io_detection(trace_depth=20)
    aiocop.detect_slow_tasks(threshold_ms=100, on_slow_task=tell)
    aiocop.activate()


def loopsentry(stack: contextlib.AsyncExitStack) -> None:
    from loopsentry import LoopSentry

    sentry = LoopSentry(base_dir=EVIDENCE, threshold=0.1)
    sentry.start()
    stack.callback(sentry.stop)


def blockbuster(stack: contextlib.AsyncExitStack) -> None:
    from blockbuster import BlockBuster

    BlockBuster().activate()


START: dict[str, Any] = {"aiocop": aiocop, "loopsentry": loopsentry}

if PEER == "fastapi-loopguard":
    from fastapi_loopguard import LoopGuardConfig, LoopGuardMiddleware

    app.add_middleware(LoopGuardMiddleware, config=LoopGuardConfig(enforcement_mode="log"))

_own_lifespan = app.router.lifespan_context


@contextlib.asynccontextmanager
async def lifespan(served: Any) -> AsyncIterator[Any]:
    """The tool first, then what the app does itself."""
    async with contextlib.AsyncExitStack() as stack:
        if PEER in START:
            START[PEER](stack)
        if PEER == "asynclens":
            from asynclens import AsyncWatchdog

            await stack.enter_async_context(AsyncWatchdog(threshold_ms=100))
        async with _own_lifespan(served) as state:
            if PEER == "blockbuster":  # it raises where the app's own start-up blocks
                blockbuster(stack)
            yield state


if PEER:
    app.router.lifespan_context = lifespan
if PEER == "unstall":
    from unstall import watch

    app = watch(app, record=os.path.join(EVIDENCE, "record.jsonl"))
