"""An app that tells everybody of its stalls: OpenTelemetry, its own Prometheus registry, functions of its own."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import prometheus_client
from fastapi import FastAPI, Response
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from unstall import watch

receiver = os.environ.get("RECEIVER")
if receiver:
    traces, exporter = TracerProvider(), OTLPSpanExporter(f"{receiver}/v1/traces")
    traces.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=200))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{receiver}/v1/metrics"), export_interval_millis=500)
    metrics.set_meter_provider(MeterProvider([reader]))
tracer = trace.get_tracer("told")
api = FastAPI()


class Traced:
    """A span around each request, as OpenTelemetry's own middleware makes it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with tracer.start_as_current_span(f"{scope['method']} {scope['path']}"):
            await self.app(scope, receive, send)


api.add_middleware(Traced)


@api.get("/health")
async def health() -> dict[str, str]:
    return {}


@api.get("/sleep/{seconds}")
async def sleep(seconds: float) -> dict[str, str]:
    time.sleep(seconds)  # STALLS: told
    return {}


@api.get("/metrics")
async def own_metrics() -> Response:
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)


def raising(record: dict[str, Any]) -> None:
    raise RuntimeError(f"no room for {record['duration_s']}")


def writing(record: dict[str, Any]) -> None:
    with open(os.environ["TOLD"], "a") as f:
        f.write(json.dumps(record) + "\n")


app = watch(api, sinks=["otel", "prometheus", raising, writing, "no-such-sink"])
