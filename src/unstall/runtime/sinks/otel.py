"""Stalls as OpenTelemetry has them: two histograms, and an event on the span of the request that blocks."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from opentelemetry import metrics, trace

from unstall import __version__
from unstall.runtime.sinks.outlets import Sighting, Source
from unstall.runtime.tally import NONE, OTHER, bounded, cause_of

EVENT = "unstall.eventloop.stall"
DURATION = "unstall.eventloop.stall.duration"


class OtelSink:
    """Uses the providers that the app has set up, or those given."""

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("unstall", __version__, meter_provider)
        self._duration = meter.create_histogram(DURATION, "s", "How long the event loop was blocked.")
        self._delay = meter.create_histogram("unstall.eventloop.delay", "s", "How late each beat of the loop was.")
        self._routes: Any = ()
        self._span: Any = None
        self._open: WeakValueDictionary[int, Any] | None = None

    def bind(self, source: Source) -> None:
        """Know the app's routes, which bound the attributes."""
        self._routes = source.routes
        self._follow_spans()

    def __call__(self, record: dict[str, Any]) -> None:
        """Count one finished stall."""
        attributes = {"unstall.cause": cause_of(record), "unstall.rule": record.get("rule") or NONE}
        route = bounded(record.get("route"), self._routes)
        if route not in (NONE, OTHER):
            attributes |= _route(route)
        self._duration.record(record["duration_s"], attributes)

    def beats(self, lags: list[float]) -> None:
        """Count how late each beat was."""
        for late_s in lags:
            self._delay.record(max(0.0, late_s))

    def during(self, sighting: Sighting) -> None:
        """Put an event on the request's span while that is still open: the span ends as soon as the loop is free.

        How long it took so far is an attribute of the span, since only that can still be changed.
        """
        if sighting.first:
            self._span = None
        record = sighting.record
        if self._span is None and sighting.context is not None:
            # A copy: the context itself is entered, by the task that is blocked.
            span = self._of_request(sighting.context.copy().run(trace.get_current_span))
            if span.is_recording():
                self._span = span
                at_ns = max(int(record["started_at"] * 1e9), getattr(span, "start_time", None) or 0)
                span.add_event(EVENT, {**_code(record), **_route(record.get("route") or "")}, at_ns)
        if self._span is not None:
            self._span.set_attribute(DURATION, record["duration_s"])

    def _of_request(self, span: Any) -> Any:
        """The server's span above the current one, else the outermost of this process."""
        self._follow_spans()
        while self._open is not None and getattr(span, "kind", None) is not trace.SpanKind.SERVER:
            parent = getattr(span, "parent", None)
            above = self._open.get(parent.span_id) if parent is not None else None
            if above is None:
                break
            span = above
        return span

    def _follow_spans(self) -> None:
        """Know the open spans by their numbers: a span knows of its parent nothing more. The SDK's only."""
        provider = trace.get_tracer_provider()
        if self._open is None and hasattr(provider, "add_span_processor"):
            from opentelemetry.sdk.trace import SpanProcessor

            spans = self._open = WeakValueDictionary()

            class Following(SpanProcessor):
                def on_start(self, span: Any, parent_context: Any = None) -> None:
                    spans[span.context.span_id] = span

            provider.add_span_processor(Following())


def _route(label: str) -> dict[str, str]:
    method, _, path = label.partition(" ")
    return {"http.request.method": method, "http.route": path} if path else {}


def _code(record: dict[str, Any]) -> dict[str, Any]:
    site = record.get("site")
    if site is None:
        return {}
    code = {"code.file.path": site["path"], "code.line.number": site["line"], "code.function.name": site["function"]}
    return code | ({"unstall.call": record["call"]} if record.get("call") else {})
