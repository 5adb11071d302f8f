"""What the recorded cases leave out: odd answers, odd requests, aborts, commands, gRPC's other replies.

The wording of the HTTP part was compared with Go 1.26's own client, case by case.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from case_servers import case_servers
from hypothesis import given
from hypothesis import strategies as st

from unstall.kubelet.prober import ProbeAnswer, Target, container_port, probe, probe_once
from unstall.kubelet.urls import BadUrl, as_bytes_text, as_text, parse, resolve
from unstall.kubelet.wire import Abort
from unstall.kubelet.wishes import Outcome
from unstall.kubelet.wording import duration, quote
from unstall.model import Exec, Grpc, HttpGet, ProbeType, TcpSocket

OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = OK + "Transfer-Encoding: chunked\r\n\r\n"
BROKEN = "net/http: HTTP/1.x transport connection broken: "


def raw(*steps: str | dict[str, Any]) -> dict[str, Any]:
    """A raw server that runs these steps; a text is sent."""
    done = [{"send": step} if isinstance(step, str) else step for step in steps]
    return {"mode": "raw", "routes": {"*": [*done, {"close": True}]}}


def ask(server: dict[str, Any], timeout_s: float = 5.0, **fields: Any) -> tuple[str, str, str, list[dict[str, Any]]]:
    """Result, output, error with the port as P, and what was received."""
    with case_servers(server) as (main, second):
        answer = probe_once(HttpGet(main.port, **{"path": "/health", **fields}), timeout_s, Target())

        def named(text: str) -> str:
            return text.replace(str(main.port), "P").replace(str(second.port), "Q")

        return str(answer.result), named(answer.output), named(answer.error or ""), main.requests + second.requests


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("", "EOF"),
        ("HTTP/1.1 20", BROKEN + 'malformed HTTP status code "20"'),
        ("HTTP/1.1", BROKEN + 'malformed HTTP response "HTTP/1.1"'),
        ("HTTP/1.1 200 OK\r\nX-A: b\r\n", BROKEN + "unexpected EOF"),
        ("HTTP/1.1 200 OK\r\nX-A: b\r\nX-", BROKEN + 'malformed MIME header: missing colon: "X-"'),
        ("HTTP/11 200 OK\r\n\r\n", BROKEN + 'malformed HTTP version "HTTP/11"'),
        ("\x00\x01\r\n\r\n", BROKEN + 'malformed HTTP response "\\x00\\x01"'),
        (OK + "Transfer-Encoding: gzip\r\n\r\nx", BROKEN + 'unsupported transfer encoding: "gzip"'),
        (OK + "Content-Length: abc\r\n\r\nx", BROKEN + 'bad Content-Length "abc"'),
        (
            OK + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            BROKEN + 'http: message cannot contain multiple Content-Length headers; got ["1" "2"]',
        ),
    ],
)
def test_a_broken_answer_is_a_failure_in_gos_words(sent: str, text: str) -> None:
    result, output, error, _ = ask(raw(sent))
    assert (result, output, error) == ("failure", f'Get "http://127.0.0.1:P/health": {text}', "")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (CHUNKED + "5\r\nab", "unexpected EOF"),
        (CHUNKED + "zz\r\nab", "invalid byte in chunk length"),
        (CHUNKED + "3\r\nabcXX0\r\n\r\n", "malformed chunked encoding"),
        (CHUNKED + "3\nabc\n0\n\n", "chunked line ends with bare LF"),
        (CHUNKED + "3\r\nabc\r\n0\r\n", "http: unexpected EOF reading trailer"),
        (CHUNKED + "3\r\nabc\r\n0\r\nX: y", "http: suspiciously long trailer after chunked body"),
        (CHUNKED + "11111111111111111\r\n", "http chunk length too large"),
    ],
)
def test_a_body_that_breaks_off_is_the_probers_own_error(sent: str, error: str) -> None:
    assert ask(raw(sent))[:3] == ("failure", "", error)


@pytest.mark.parametrize(
    ("sent", "output"),
    [
        (OK + "\r\nuntil close", "until close"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nas it is", "as it is"),
        (CHUNKED + "3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n", "abc"),
        (OK + "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok"),
        ("HTTP/1.1 102 P\r\n\r\n" * 9 + OK + "Content-Length: 2\r\n\r\nok", "ok"),
        (OK + "X : odd\r\nX: folded\r\n line\r\nContent-Length: 2\r\n\r\nok and more", "ok"),
        ("HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\nhello", ""),
    ],
)
def test_what_go_forgives_is_forgiven(sent: str, output: str) -> None:
    assert ask(raw(sent))[:3] == ("success", output, "")


def test_a_stalled_body_is_discarded_after_three_tries() -> None:
    def stalled(sent: str) -> tuple[ProbeAnswer, float]:
        with case_servers(raw(sent, {"sleep": 30})) as (main, _):
            began_at = time.monotonic()
            return probe(HttpGet(main.port), 1.5, Target()), time.monotonic() - began_at

    sent = [OK + "Content-Length: 5\r\n\r\nab", OK + "\r\nab", CHUNKED + "3\r\nabc\r\n"]
    with ThreadPoolExecutor(3) as pool:
        for answer, took_s in pool.map(stalled, sent):
            assert (answer.counts_as, answer.outcome, answer.tries) == ("discarded", Outcome.ERROR, 3)
            assert (
                answer.error == "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            )
            assert answer.event(ProbeType.LIVENESS) == (
                "Unhealthy",
                f"Liveness probe errored and resulted in failure state: {answer.error}",
            )
            assert took_s >= 4.5


def test_a_body_that_stalls_beyond_the_limit_does_not_matter() -> None:
    server = raw(OK + "Content-Length: 99999\r\n\r\n", {"send_repeat": {"byte": "a", "n": 10240}}, {"sleep": 20})
    result, output, error, _ = ask(server)
    assert (result, len(output), error) == ("success", 10240, "")


def test_a_tls_handshake_that_never_ends_has_its_own_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answer = probe_once(HttpGet(port, scheme="HTTPS"), 0.3, Target())
    waited = "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
    assert (answer.result, answer.output) == (Outcome.FAILURE, f'Get "https://127.0.0.1:{port}/": {waited}')


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http: server gave HTTP response to HTTPS client"),
        (b"SSH-2.0-OpenSSH\r\n", "tls: first record does not look like a TLS handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "remote error: tls: handshake failure"),
        (b"", "EOF"),
    ],
)
def test_an_https_probe_of_something_else_says_what_it_met(sent: bytes, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = probe_once(HttpGet(port, scheme="HTTPS"), 5, Target())
        thread.join()
    assert answer.output == f'Get "https://127.0.0.1:{port}/": {text}'


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        ([("x-b", "1"), ("a-b", "2"), ("X-B", "3")], [["A-B", "2"], ["Accept", "*/*"], ["X-B", "1"], ["X-B", "3"]]),
        ([("Content-Length", "5"), ("Transfer-Encoding", "x")], [["Accept", "*/*"]]),
        ([("X", "  a  ")], [["Accept", "*/*"], ["X", "a"]]),
    ],
)
def test_headers_are_sorted_and_gos_own_cannot_be_set(headers: list[tuple[str, str]], lines: list[list[str]]) -> None:
    *_, [request] = ask(raw(OK + "Content-Length: 0\r\n\r\n"), headers=tuple(headers))
    assert [name for name, _ in request["headers"]][:2] == ["Host", "User-Agent"]
    assert request["headers"][2:] == [*lines, ["Connection", "close"]]


@pytest.mark.parametrize(
    ("value", "connection"),
    [("keep-alive", ["keep-alive", "close"]), ("close", ["close"]), ("Upgrade", ["Upgrade"])],
)
def test_a_custom_connection_header_is_sent_in_addition(value: str, connection: list[str]) -> None:
    *_, [request] = ask(raw(OK + "Content-Length: 0\r\n\r\n"), headers=(("connection", value),))
    assert [value for name, value in request["headers"] if name == "Connection"] == connection


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (("X A", "1"), 'net/http: invalid header field name "X A"'),
        (("X-A", "a\nb"), 'net/http: invalid header field value for "X-A"'),
    ],
)
def test_a_header_that_go_will_not_send_fails_before_anything_is_sent(header: tuple[str, str], text: str) -> None:
    result, output, _, requests = ask(raw(OK), headers=(header,))
    assert (result, output, requests) == ("failure", f'Get "http://127.0.0.1:P/health": {text}', [])


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/a b", "/a%20b"),
        ("/a?b c", "/a?b c"),
        ("/é", "/%C3%A9"),
        ("//x/y", "/y"),
        ("http://other/x", "/x"),
        ("/a?", "/a?"),
        ("?q", "/?q"),
        ("/a\nb", "/a%0Ab"),
    ],
)
def test_a_path_becomes_the_target_that_go_makes_of_it(path: str, line: str) -> None:
    *_, [request] = ask(raw(OK + "Content-Length: 0\r\n\r\n"), path=path)
    assert request["line"] == f"GET {line} HTTP/1.1"


def redirect(location: str, status: int = 302) -> dict[str, Any]:
    server = raw(OK + "Content-Length: 2\r\n\r\nok")
    head = f"HTTP/1.1 {status} Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
    server["routes"]["/health"] = [{"send": head}, {"close": True}]
    return server


@pytest.mark.parametrize(
    ("location", "result", "said"),
    [
        ("http://localhost:{port}/new", "warning", "Probe terminated redirects, Response body: "),
        ("", "warning", "Probe terminated redirects, Response body: "),
        ("//127.0.0.1:{port2}/new", "success", "ok"),
        ("http://127.0.0.1:{port2}", "success", "ok"),
        ("ftp://127.0.0.1/x", "failure", 'Get "ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
        (
            "http://127.0.0.1:99999/x",
            "failure",
            'Get "http://127.0.0.1:99999/x": dial tcp: address 99999: invalid port',
        ),
    ],
)
def test_a_redirect_is_followed_on_the_same_host_name_only(location: str, result: str, said: str) -> None:
    assert ask(redirect(location))[:2] == (result, said)


@pytest.mark.parametrize(("status", "hops"), [(300, 1), (301, 2), (303, 2), (304, 1), (305, 1), (307, 2), (308, 2)])
def test_only_gos_redirects_are_followed(status: int, hops: int) -> None:
    assert len(ask(redirect("/new", status))[3]) == hops


def test_an_absolute_redirect_drops_the_host_header_and_keeps_the_others() -> None:
    *_, requests = ask(redirect("http://127.0.0.1:{port}/new"), headers=(("Host", "h.x"), ("X-B", "1")))
    headers = dict(requests[1]["headers"])
    assert headers["Host"].startswith("127.0.0.1:") and headers["X-B"] == "1"


def test_a_redirects_time_is_part_of_the_timeout() -> None:
    server = redirect("/new")
    server["routes"]["*"] = [{"sleep": 20}]
    result, output, _, _ = ask(server, timeout_s=1.5)
    waited = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert (result, output) == ("failure", f'Get "http://127.0.0.1:P/new": {waited}')


def test_ports_are_numbers_names_or_numbers_as_text() -> None:
    ports = (("http", 8000), ("http", 9000))
    assert container_port("http", ports) == 8000
    assert container_port("8080", ports) == 8080
    for port, text in (
        ("web", 'strconv.Atoi: parsing "web": invalid syntax'),
        ("0", "invalid port number: 0"),
        (-1, "invalid port number: -1"),
    ):
        with pytest.raises(ValueError) as caught:
            container_port(port, ports)
        assert str(caught.value) == text


def test_an_unknown_port_name_is_the_probers_own_error() -> None:
    answer = probe(TcpSocket("web"), 1, Target())
    assert (answer.result, answer.outcome, answer.tries) == (Outcome.UNKNOWN, Outcome.ERROR, 3)


def test_a_blocked_server_passes_the_tcp_probe() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert probe(TcpSocket(listener.getsockname()[1]), 1, Target()).outcome is Outcome.SUCCESS


# --- aborting ------------------------------------------------------------------------------------------


def hung_server(kind: str) -> Callable[[int], HttpGet | Grpc]:
    return {
        "http": lambda port: HttpGet(port),
        "https": lambda port: HttpGet(port, scheme="HTTPS"),
        "grpc": lambda port: Grpc(port),
    }[kind]


@pytest.mark.parametrize("kind", ["http", "https", "grpc", "exec"])
def test_an_abort_ends_a_probe_long_before_its_timeout(kind: str) -> None:
    abort = Abort()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handler = Exec(("sleep", "60")) if kind == "exec" else hung_server(kind)(listener.getsockname()[1])
        timer = threading.Timer(0.2, abort.set)
        timer.start()
        began_at = time.monotonic()
        answer = probe(handler, 60, Target(), abort)
        took_s = time.monotonic() - began_at
        timer.join()
    assert (answer.outcome, answer.error, answer.tries) == (Outcome.ERROR, "probe aborted", 1)
    assert took_s < 30
    # It stays aborted, for every probe that shares it.
    assert probe_once(HttpGet(1), 60, Target(), abort).outcome in (Outcome.ERROR, Outcome.FAILURE)
    abort.set()
    assert abort.is_set()
    abort.close()


# --- commands ------------------------------------------------------------------------------------------


def shell(script: str, timeout_s: float = 20.0, **target: Any) -> tuple[str, str, str | None]:
    answer = probe_once(Exec(("sh", "-c", script)), timeout_s, Target(**target))
    return str(answer.outcome), answer.output, answer.error


def test_the_exit_code_decides_and_both_streams_are_the_output() -> None:
    assert shell("echo out; echo err >&2") == ("success", "out\nerr\n", None)
    assert shell("echo why; exit 3") == ("failure", "why\n", None)
    assert shell("exit 1") == ("failure", "", None)


def test_output_is_cut_at_ten_kibibytes() -> None:
    outcome, output, _ = shell("head -c 300000 /dev/zero | tr '\\0' a")
    assert (outcome, len(output)) == ("success", 10240)


def test_a_command_out_of_time_fails_and_none_of_its_processes_is_left(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; (sleep 60; true) & echo $! >> {pids}; sleep 60 & echo $! >> {pids}; wait"
    # In a probe's command $$ stands for one $.
    outcome, output, error = shell(script.replace("$$", "$$$$"), timeout_s=1.0)
    assert (outcome, error) == ("failure", None)
    assert output == f"command timed out: {quote('sh -c ' + script)} timed out after 1s"
    found = {int(line) for line in pids.read_text().split()}
    assert len(found) == 3
    for pid in found:
        assert_gone(pid)


def test_what_a_finished_command_left_behind_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    assert shell(f"sleep 60 >/dev/null 2>&1 & echo $! > {pid_file}")[0] == "success"
    assert_gone(int(pid_file.read_text()))


def assert_gone(pid: int) -> None:
    """No process of this id, or only what init has not reaped yet."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


def test_a_command_that_is_not_there_is_the_probers_own_error() -> None:
    answer = probe(Exec(("no-such-command",)), 5, Target())
    assert (answer.result, answer.outcome, answer.tries) == (Outcome.UNKNOWN, Outcome.ERROR, 3)
    assert answer.error is not None and "executable file not found in $PATH" in answer.error


def test_a_command_sees_the_containers_variables_and_folder(tmp_path: Path) -> None:
    target = Target(env={"WHO": "world"}, environment={"PATH": os.environ["PATH"], "X": "1"}, directory=str(tmp_path))
    command = (sys.executable, "-c", "import os, sys; print(os.getcwd(), os.environ['X'], *sys.argv[1:])")
    answer = probe_once(Exec((*command, "$(WHO)", "$(NOBODY)", "$$(WHO)")), 20, target)
    assert answer.output == f"{tmp_path} 1 world $(NOBODY) $(WHO)\n"


# --- gRPC ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "service", "said"),
    [
        ("unknown", "", 'service unhealthy (responded with "UNKNOWN")'),
        ("service_unknown", "", 'service unhealthy (responded with "SERVICE_UNKNOWN")'),
        ("serving_only_if_service_live", "live", "service healthy"),
        (
            "serving_only_if_service_live",
            "x",
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            "no_health_service",
            "",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): Method not found!",
        ),
        ("error_internal", "", "error: health rpc probe failed: rpc error: code = Internal desc = error_internal"),
    ],
)
def test_every_grpc_reply_has_the_kubelets_words(behaviour: str, service: str, said: str) -> None:
    with case_servers({"mode": "grpc", "grpc_behaviour": behaviour}) as (main, _):
        answer = probe_once(Grpc(main.port, service), 10, Target())
    assert answer.output == said
    assert answer.error is None


def test_a_grpc_call_that_hangs_is_told_from_a_connection_that_does() -> None:
    with case_servers({"mode": "grpc", "grpc_behaviour": "hang"}) as (main, _):
        answer = probe_once(Grpc(main.port), 1.5, Target())
    assert answer.output == "timeout: health rpc did not complete within 1.5s"


def test_a_grpc_probe_connects_again_until_its_time_is_over() -> None:
    with case_servers(raw()) as (main, _):
        answer = probe_once(Grpc(main.port), 2.5, Target())
        assert answer.output.startswith("timeout: failed to connect service")
        assert len(main.requests) in (2, 3)  # the second try comes after 1 s give or take a fifth, a third may fit


# --- Go's words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "reference", "url"),
    [
        ("http://h:1/a/b?q=1#f", "c", "http://h:1/a/c"),
        ("http://h:1/a/b?q=1#f", "", "http://h:1/a/b?q=1#f"),
        ("http://h:1/a/b", "../../../x/./y/..", "http://h:1/x/"),
        ("http://h:1/a/b", "?z", "http://h:1/a/b?z"),
        ("http://h:1/a/b", "mailto:x", "mailto:x"),
        ("http://h:1", "x", "http://h:1/x"),
        ("http://u:p@h/a", "/b", "http://u:p@h/b"),
    ],
)
def test_a_reference_leads_where_go_says(base: str, reference: str, url: str) -> None:
    assert str(resolve(parse(base), parse(reference))) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":x", 'parse ":x": missing protocol scheme'),
        ("/%zz", 'parse "/%zz": invalid URL escape "%zz"'),
        ("a b:c", 'parse "a b:c": first path segment in URL cannot contain colon'),
        ("http://h:x/", 'parse "http://h:x/": invalid port ":x" after host'),
        ("http://a b/", 'parse "http://a b/": invalid character " " in host name'),
        ("http://h/\x7f", 'parse "http://h/\\x7f": net/url: invalid control character in URL'),
    ],
)
def test_a_url_that_go_refuses_is_refused_in_its_words(text: str, said: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse(text)
    assert caught.value.message == said


@given(st.text(max_size=30))
def test_any_text_is_a_url_or_refused_and_a_url_reads_back_as_itself(text: str) -> None:
    try:
        url = parse(as_bytes_text(text))
    except BadUrl:
        return
    again = parse(str(url))
    assert str(again) == str(url) and again.request_target == url.request_target


@given(st.text())
def test_text_survives_the_way_to_bytes_and_back(text: str) -> None:
    assert as_text(as_bytes_text(text)) == text


def test_durations_read_as_gos() -> None:
    texts = {0.0015: "1.5ms", 2e-6: "2µs", 1.5: "1.5s", 61.25: "1m1.25s", 3661: "1h1m1s", -2: "-2s"}
    assert {value: duration(value) for value in texts} == texts
