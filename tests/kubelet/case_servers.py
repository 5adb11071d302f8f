"""The servers of cases_http.json, on real sockets: one thread each, gone when the case is over."""

from __future__ import annotations

import contextlib
import datetime
import functools
import ipaddress
import re
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

HELD_OPEN_S = 30.0
BAD_REQUEST = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
STEP_KEYS = {"send", "send_repeat", "sleep", "close", "reset"}


class CaseServer:
    """One server and what it received. ``requests`` are as in the cases: line, headers, server."""

    def __init__(self, name: str, mode: dict[str, Any], ports: Callable[[], dict[str, int]]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.user_agents: list[str] = []
        self._name = name
        self._mode = mode
        self._ports = ports
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self._grpc: grpc.Server | None = None
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def start(self) -> None:
        kind = self._mode["mode"]
        if kind == "refused":
            # Bound but not listening: the port is ours, and connecting to it is refused.
            return
        if kind == "grpc":
            self._listener.close()
            self._grpc, self.port = grpc_server(self._mode["grpc_behaviour"], self.user_agents, self._closed)
            return
        if kind == "backlog_full":
            self._listener.listen(0)
            fill_backlog(self._listener, self._open)
            return
        self._listener.listen(128)
        if kind == "no_accept":
            return
        serve = {
            "raw": self._serve_raw,
            "accept_close": lambda connection: connection.close(),
            "accept_reset": reset,
            "tls": functools.partial(self._serve_tls, protocols=["http/1.1"]),
            "tls_h2": functools.partial(self._serve_tls, protocols=["h2", "http/1.1"]),
        }[kind]
        threading.Thread(target=self._accept, args=[serve], daemon=True).start()

    def stop(self) -> None:
        self._closed.set()
        if self._grpc is not None:
            self._grpc.stop(None).wait()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self, serve: Callable[[socket.socket], object]) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._guarded, args=[serve, connection], daemon=True).start()

    def _guarded(self, serve: Callable[[socket.socket], object], connection: socket.socket) -> None:
        # The prober hangs up whenever it likes: that is what some of the cases are about.
        with contextlib.suppress(OSError):
            connection.settimeout(HELD_OPEN_S)
            serve(connection)

    def _serve_raw(self, connection: socket.socket) -> None:
        head = read_head(connection)
        if head is None:
            return connection.close()
        line, *headers = head.decode("latin-1").split("\r\n")
        pairs = [tuple(header.split(": ", 1)) if ": " in header else (header.rstrip(":"), "") for header in headers]
        self.requests.append({"line": line, "headers": [list(pair) for pair in pairs], "server": self._name})
        routes = self._mode.get("routes") or {}
        target = line.split(" ")[1]
        self._run(connection, routes.get(target, routes.get("*", [])))
        connection.close()

    def _run(self, connection: socket.socket, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            assert set(step) <= STEP_KEYS, f"unknown keys in a step: {sorted(set(step) - STEP_KEYS)}"
            if step.get("send") is not None:
                connection.sendall(self._filled(step["send"]).encode("utf-8"))
            if step.get("send_repeat"):
                connection.sendall(step["send_repeat"]["byte"].encode() * step["send_repeat"]["n"])
            if step.get("sleep") is not None:
                self._closed.wait(step["sleep"])
            if step.get("reset"):
                return reset(connection)
            if step.get("close"):
                return None
        return None

    def _filled(self, text: str) -> str:
        for name, port in self._ports().items():
            text = text.replace("{" + name + "}", str(port))
        return text

    def _serve_tls(self, connection: socket.socket, protocols: list[str]) -> None:
        if connection.recv(1, socket.MSG_PEEK)[:1] not in (b"\x16", b""):
            read_head(connection)
            connection.sendall(BAD_REQUEST)
            return connection.close()
        context = server_context()
        context.set_alpn_protocols(protocols)
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as tls:
            if tls.selected_alpn_protocol() == "h2":
                answer_h2(tls)
            elif read_head(tls) is not None:
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nHTTP/1.1")
                tls.unwrap()
        return None


def read_head(connection: socket.socket) -> bytes | None:
    """A request up to its empty line."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    return data.partition(b"\r\n\r\n")[0]


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def fill_backlog(listener: socket.socket, held: list[socket.socket]) -> None:
    """Connect until the kernel drops the next SYN."""
    for _ in range(8):
        client = socket.socket()
        held.append(client)
        client.settimeout(0.2)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            return
    raise AssertionError("the accept queue never filled")


def answer_h2(tls: ssl.SSLSocket) -> None:
    """Answer each stream with the protocol's name."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    tls.sendall(connection.data_to_send())
    while data := tls.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", "8")])
                connection.send_data(event.stream_id, b"HTTP/2.0", end_stream=True)
        tls.sendall(connection.data_to_send())


@functools.cache
def server_context_files() -> tuple[bytes, bytes]:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "probe.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), private


def server_context() -> ssl.SSLContext:
    """TLS with the self-signed certificate."""
    certificate, key = server_context_files()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(certificate + key)
        context.load_cert_chain(path)
    return context


# What a health server does, by the name that a case gives it.
STATUSES = {
    "serving": health_pb2.HealthCheckResponse.SERVING,
    "not_serving": health_pb2.HealthCheckResponse.NOT_SERVING,
    "unknown": health_pb2.HealthCheckResponse.UNKNOWN,
    "service_unknown": health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
}
NO_SERVICE = ("unimplemented", "no_service", "no_health_service")
ONLY_IF = "serving_only_if_service_"
LATE = re.compile(r"(?:hang|hangs|blocked|slow|sleep)(?:_([\d.]+)s?)?")
CODES = {code.name.lower(): code for code in grpc.StatusCode}


class HealthServer(health_pb2_grpc.HealthServicer):
    def __init__(self, behaviour: str, user_agents: list[str], closed: threading.Event) -> None:
        code = behaviour.removeprefix("error_")
        known = behaviour in STATUSES or behaviour.startswith(ONLY_IF) or LATE.fullmatch(behaviour) or code in CODES
        assert known, f"unknown grpc_behaviour: {behaviour}"
        self._behaviour = behaviour
        self._closed = closed
        self._user_agents = user_agents

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._user_agents += [str(value) for key, value in context.invocation_metadata() if key == "user-agent"]
        behaviour = self._behaviour
        if behaviour.startswith(ONLY_IF):
            wanted = behaviour.removeprefix(ONLY_IF)
            if request.service != ("" if wanted == "empty" else wanted):
                context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            behaviour = "serving"
        if late := LATE.fullmatch(behaviour):
            self._closed.wait(float(late.group(1) or HELD_OPEN_S))
            behaviour = "serving"
        if behaviour not in STATUSES:
            context.abort(CODES[behaviour.removeprefix("error_")], behaviour)
        return health_pb2.HealthCheckResponse(status=STATUSES[behaviour])


def grpc_server(behaviour: str, user_agents: list[str], closed: threading.Event) -> tuple[grpc.Server, int]:
    """A real gRPC server; ``no_service`` has no health service in it."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    if behaviour not in NO_SERVICE:
        health_pb2_grpc.add_HealthServicer_to_server(HealthServer(behaviour, user_agents, closed), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@contextlib.contextmanager
def case_servers(server: dict[str, Any]) -> Iterator[tuple[CaseServer, CaseServer]]:
    """The server of a case, and the second one with the same routes."""
    servers: list[CaseServer] = []

    def ports() -> dict[str, int]:
        return {"port": servers[0].port, "port2": servers[1].port}

    servers += [CaseServer("main", server, ports)]
    servers += [CaseServer("second", server if server["mode"] == "raw" else {"mode": "refused"}, ports)]
    try:
        for each in servers:
            each.start()
        yield servers[0], servers[1]
    finally:
        for each in servers:
            each.stop()
