"""Stalls in the app's own `prometheus_client` registry, under the names that the observer's /metrics has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from unstall.runtime import mapping
from unstall.runtime.sinks.outlets import Source
from unstall.runtime.tally import BOUNDS_S, NONE, bounded, cause_of


class PrometheusSink:
    """Counts stalls in ``registry`` (default: the global one); beats, requests and threads are read when it is asked."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or prometheus_client.REGISTRY
        self._routes: Any = ()
        self._stalls, self._lengths, self._state = _instruments(self._registry)

    def bind(self, source: Source) -> None:
        """Read beats, requests and threads from there."""
        self._routes = source.routes
        self._state.source = source

    def __call__(self, record: dict[str, Any]) -> None:
        """Count one finished stall."""
        route, cause = bounded(record.get("route"), self._routes), cause_of(record)
        self._stalls.labels(route, cause, record.get("rule") or NONE).inc()
        self._lengths.labels(route, cause).observe(record["duration_s"])


class _State(Collector):
    """What is true now, or was counted elsewhere."""

    source: Source | None = None

    def collect(self) -> Iterable[Any]:
        """As `prometheus_client` asks for it."""
        if self.source is None:
            return
        shared = self.source.shared
        cells = shared.cells
        bounds = [*map(str, mapping.LAG_BOUNDS_S), "+Inf"]
        buckets, count = [], 0.0
        for i, bound in enumerate(bounds):
            count += cells[mapping.LAG + i]
            buckets.append((bound, count))
        yield HistogramMetricFamily(
            "unstall_event_loop_lag_seconds",
            "How late each beat of the event loop was.",
            buckets=buckets,
            sum_value=cells[mapping.LAG_SUM],
        )
        in_flight = len(shared.in_flight(mapping.SLOTS)) + cells[mapping.UNSEEN]
        yield GaugeMetricFamily("unstall_requests_in_flight", "Requests in flight.", value=in_flight)
        tokens = GaugeMetricFamily(
            "unstall_threadpool_tokens", "Threads of the pool for `def` endpoints.", labels=["state"]
        )
        tokens.add_metric(["used"], cells[mapping.POOL_USED])
        tokens.add_metric(["total"], cells[mapping.POOL_TOTAL])
        yield tokens
        waiting = cells[mapping.POOL_WAITING]
        yield GaugeMetricFamily(
            "unstall_threadpool_waiting", "Calls that wait for a thread of the pool.", value=waiting
        )


_made: dict[int, tuple[prometheus_client.Counter, prometheus_client.Histogram, _State]] = {}


def _instruments(registry: CollectorRegistry) -> tuple[prometheus_client.Counter, prometheus_client.Histogram, _State]:
    """Those of this registry, made once: a second loop or a reload must not register the names again."""
    found = _made.get(id(registry))
    if found is None:
        stalls = prometheus_client.Counter(
            "unstall_stalls", "Stalls of the event loop that are over.", ("route", "cause", "rule"), registry=registry
        )
        lengths = prometheus_client.Histogram(
            "unstall_event_loop_stall_seconds",
            "How long the event loop was blocked.",
            ("route", "cause"),
            buckets=BOUNDS_S,
            registry=registry,
        )
        state = _State()
        registry.register(state)
        found = _made[id(registry)] = stalls, lengths, state
    return found
