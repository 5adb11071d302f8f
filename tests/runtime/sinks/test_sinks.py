"""Sinks in a real server: what arrives at OpenTelemetry's receiver, in the app's own registry, at functions."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.runtime.conftest import Server, line_of, wait_for

Serve = Callable[..., Server]


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as a collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            sent = ExportTraceServiceRequest.FromString(body)
            self.server.spans += [s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans]
        else:
            found = ExportMetricsServiceRequest.FromString(body)
            self.server.metrics += [m for r in found.resource_metrics for s in r.scope_metrics for m in s.metrics]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def test_opentelemetry_gets_the_line_on_the_requests_span_and_two_histograms(
    serve: Serve, receiver: Receiver, tmp_path: Path
) -> None:
    server = serve(app="told:app", RECEIVER=receiver.address, TOLD=str(tmp_path / "told"))

    def spans() -> list[Any]:
        return [span for span in receiver.spans if span.name == "GET /sleep/{seconds}"]

    for asked in range(8):
        server.get("/sleep/0.6")
        wait_for(lambda asked=asked: len(spans()) > asked, 60, server.log.read_text)
        # FastAPI has its own spans within: it is the server's that gets the event.
        span = spans()[-1]
        events = [event for event in span.events if event.name == "unstall.eventloop.stall"]
        assert events
        # On a busy machine what comes before the endpoint may take so long that a stall begins there.
        if [plain(event.attributes)["code.function.name"] for event in events] == ["sleep"]:
            break
    else:
        pytest.fail(f"not once the one event: {events}")
    attributes = plain(events[0].attributes)
    assert attributes["http.request.method"] == "GET"
    assert attributes["http.route"] == "/sleep/{seconds}"
    assert attributes["code.function.name"] == "sleep"
    assert attributes["code.file.path"].endswith("told.py")
    assert attributes["code.line.number"] == line_of("told", "told.py")
    assert attributes["unstall.call"] == "time.sleep"
    assert 0.1 <= plain(span.attributes)["unstall.eventloop.stall.duration"] <= 0.6 + 60
    assert span.start_time_unix_nano <= events[0].time_unix_nano <= span.end_time_unix_nano

    def points(name: str) -> list[Any]:
        return [p for metric in receiver.metrics if metric.name == name for p in metric.histogram.data_points]

    def of_route() -> list[Any]:
        found = points("unstall.eventloop.stall.duration")
        return [p for p in found if plain(p.attributes).get("http.route") == "/sleep/{seconds}"]

    wait_for(lambda: bool(of_route()), 60, server.log.read_text)
    assert of_route()[0].sum >= 0.6
    assert set(plain(of_route()[0].attributes)) == {
        "http.request.method", "http.route", "unstall.cause", "unstall.rule"
    }  # fmt: skip
    wait_for(lambda: any(p.count >= 20 for p in points("unstall.eventloop.delay")), 60, server.log.read_text)


def test_the_apps_own_registry_has_the_same_names_and_promtool_accepts_them(serve: Serve, tmp_path: Path) -> None:
    server = serve(app="told:app", TOLD=str(tmp_path / "told"))
    server.wait_events("alive")
    server.get("/sleep/0.3")

    def text() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    counted = 'unstall_event_loop_stall_seconds_count{cause="syscall",route="GET /sleep/{seconds}"} 1.0'
    other = counted.replace("syscall", "run_queue")  # on a machine that is very busy
    wait_for(lambda: counted in text() or other in text(), 60, text)
    found = text()
    assert 'unstall_threadpool_tokens{state="total"}' in found
    assert "unstall_requests_in_flight 1.0" in found  # the one that asks
    ours = "".join(f"{row}\n" for row in found.splitlines() if "unstall_" in row and "_created" not in row)
    try:
        done = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("promtool is not installed")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_sink_that_raises_is_off_with_one_warning_and_the_others_go_on(serve: Serve, tmp_path: Path) -> None:
    told = tmp_path / "told"
    server = serve(app="told:app", TOLD=str(told))
    for _ in range(3):
        server.get("/sleep/0.3")

    def routes() -> list[str]:
        records = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        return [record["route"] for record in records if record["route"]]

    wait_for(lambda: routes().count("GET /sleep/{seconds}") == 3, 60, server.log.read_text)
    log = server.log.read_text()
    assert log.count("the sink raising raised and is off from now on") == 1
    assert log.count("RuntimeError: no room for") == 1
    assert log.count("the sink no-such-sink is off") == 1


def test_a_sink_whose_library_is_missing_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from unstall.runtime.mapping import Shared\n"
        "from unstall.runtime.sinks.outlets import Outlets, Source\n"
        "Outlets(['prometheus'], Source(Shared(), ()), lambda text, *args, **_: print(text % args))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the sink prometheus is off" in done.stdout
    assert "pip install 'unstall[prometheus]'" in done.stdout


def test_a_sinks_library_is_loaded_only_where_it_was_asked_for() -> None:
    code = (
        "import sys, unstall.runtime.watcher\n"
        "print([name for name in ('prometheus_client', 'opentelemetry', 'anyio') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
