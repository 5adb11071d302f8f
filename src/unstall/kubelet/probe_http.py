"""The kubelet's HTTP probe: one GET as Go's client sends it, its redirects, its verdict."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from unstall.kubelet import http1
from unstall.kubelet.http1 import TOKEN, Head, Lines
from unstall.kubelet.urls import BadUrl, Url, as_bytes_text, as_text, parse, resolve
from unstall.kubelet.wire import Limits, TimedOut, Wire, WireError, dial, join_host_port
from unstall.kubelet.wishes import Outcome
from unstall.kubelet.wording import quote
from unstall.model import HttpGet

USER_AGENT = "kube-probe/1.36"
BODY_LIMIT_BYTES = 10 * 1024
# A redirect's body is read this far before it is thrown away.
SLURP_LIMIT_BYTES = 2 * 1024
REDIRECT_LIMIT = 10
REDIRECTS = (301, 302, 303, 307, 308)
# These lines are written by Go itself, whatever the probe's headers say.
OWN_LINES = frozenset({"Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer"})
AWAITING_HEADERS = "(Client.Timeout exceeded while awaiting headers)"
READING_BODY = "(Client.Timeout or context cancellation while reading body)"

Headers = dict[str, list[str]]


class ProbeFailed(WireError):
    """The request failed before its answer's headers were there: a failure, not a prober error."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One hop: where to, with which headers by canonical name, and the Host line where it is not the URL's."""

    url: Url
    headers: Headers
    host: str = ""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer: ``body`` as far as asked for, or why it could not be read."""

    head: Head
    body: bytes = b""
    body_error: str | None = None


def ask_http(
    get: HttpGet, port: int, pod_ip: str, limits: Limits, http2: bool = True
) -> tuple[Outcome, str, str | None]:
    """One try: result, output, and the error that makes it a prober's own failure."""
    try:
        request = first_request(get, port, pod_ip)
    except BadUrl as error:
        return Outcome.UNKNOWN, "", error.message
    try:
        answer = follow(request, limits, http2)
    except ProbeFailed as error:
        return Outcome.FAILURE, error.message, None
    if answer.body_error is not None:
        return Outcome.FAILURE, "", answer.body_error
    status = answer.head.status
    body = answer.body.decode("utf-8", "replace")
    if 200 <= status < 300:
        return Outcome.SUCCESS, body, None
    if 300 <= status < 400:
        return Outcome.WARNING, f"Probe terminated redirects, Response body: {body}", None
    return Outcome.FAILURE, f"HTTP probe failed with statuscode: {status}", None


# --- the request ----------------------------------------------------------------------------------


def first_request(get: HttpGet, port: int, pod_ip: str) -> HttpRequest:
    """What the probe's fields ask for. Raises `BadUrl` where Go cannot make a request of them."""
    path = as_bytes_text(get.path)
    try:
        url = parse(path)
    except BadUrl:
        # Too late to refuse it: the kubelet passes such a path on, escaped.
        url = Url(path=path)
    host = as_bytes_text(join_host_port(get.host or pod_ip, port))
    url = parse(str(replace(url, scheme=get.scheme.lower() or "http", host=host)))
    headers: Headers = {}
    for name, value in get.headers:
        headers.setdefault(canonical(as_bytes_text(name)), []).append(as_bytes_text(value))
    headers.setdefault("User-Agent", [USER_AGENT])
    if headers.setdefault("Accept", ["*/*"])[0] == "":
        del headers["Accept"]
    return HttpRequest(url, headers, headers.get("Host", [""])[0])


def canonical(name: str) -> str:
    """A header's name as Go writes it; a name that is no token stays as it is."""
    if not name or not set(name) <= TOKEN:
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def check_headers(headers: Headers) -> None:
    """Raise where Go refuses to send them."""
    for name, values in headers.items():
        if not name or not set(name) <= TOKEN:
            raise WireError(f"net/http: invalid header field name {quote(as_text(name))}")
        for value in values:
            if any((character < " " and character != "\t") or character == "\x7f" for character in value):
                raise WireError(f"net/http: invalid header field value for {quote(name)}")


def connection_tokens(headers: Headers) -> set[str]:
    """What a custom Connection header says, in lower case."""
    return {token.strip().lower() for value in headers.get("Connection", []) for token in value.split(",")}


def request_bytes(request: HttpRequest) -> bytes:
    """The request as it goes over the wire in HTTP/1.1."""
    lines = [f"GET {request.url.request_target} HTTP/1.1", f"Host: {host_line(request)}"]
    if agent := trimmed(request.headers.get("User-Agent", [""])[0]):
        lines.append(f"User-Agent: {agent}")
    lines += [f"{name}: {value}" for name, value in sorted_headers(request.headers)]
    if not {"close", "upgrade"} & connection_tokens(request.headers):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def host_line(request: HttpRequest) -> str:
    """The Host line; a value that cannot be one is sent empty."""
    host = request.host or request.url.host
    if not host.isascii():
        try:
            host = as_text(host).encode("idna").decode()
        except UnicodeError:
            return ""
    return host if all(character.isalnum() or character in "!$%&'()*+,-.:;=[]_~" for character in host) else ""


def sorted_headers(headers: Headers) -> list[tuple[str, str]]:
    """All headers that are not Go's own, in the order of their names."""
    return [(name, trimmed(value)) for name in sorted(headers) if name not in OWN_LINES for value in headers[name]]


def trimmed(value: str) -> str:
    """A header's value as written: no line ends, no blanks around it."""
    return value.replace("\n", " ").replace("\r", " ").strip(" \t")


# --- redirects --------------------------------------------------------------------------------------


def follow(first: HttpRequest, limits: Limits, http2: bool) -> HttpAnswer:
    """Send the request and follow redirects on the same host name. Raises `ProbeFailed`."""
    request = first
    for hop in range(1, REDIRECT_LIMIT + 2):
        answer_or_next = one_hop(first, request, hop, limits, http2)
        if isinstance(answer_or_next, HttpAnswer):
            return answer_or_next
        request = answer_or_next
    raise AssertionError("the redirect limit ends the loop")


def one_hop(
    first: HttpRequest, request: HttpRequest, hop: int, limits: Limits, http2: bool
) -> HttpAnswer | HttpRequest:
    """Send one request: its answer, or the request that a redirect asks for."""
    try:
        with connect(request, limits, http2) as exchange:
            head = exchange.head()
            location = head.header("Location") if head.status in REDIRECTS else ""
            if location:
                following = redirected(first, request, location)
                if following.url.hostname == first.url.hostname:
                    slurp(exchange, head)
                    if hop >= REDIRECT_LIMIT:
                        raise failure(location, "stopped after 10 redirects")
                    return following
            return read_answer(exchange, head)
    except TimedOut as error:
        if error.stage == "tls":
            text = f"net/http: request canceled while waiting for connection {AWAITING_HEADERS}"
        else:
            text = f"context deadline exceeded {AWAITING_HEADERS}"
        raise failure(str(request.url), text) from None
    except ProbeFailed:
        raise
    except WireError as error:
        raise failure(str(request.url), error.message) from None


def failure(url: str, text: str) -> ProbeFailed:
    """A failed request in the words of Go's ``url.Error``; a password is not shown."""
    try:
        parsed = parse(url)
    except BadUrl:
        parsed = Url()
    if parsed.user is not None and ":" in parsed.user:
        url = str(replace(parsed, user=f"{parsed.user.partition(':')[0]}:***"))
    return ProbeFailed(f"Get {quote(as_text(url))}: {text}")


def redirected(first: HttpRequest, request: HttpRequest, location: str) -> HttpRequest:
    """The next hop: the first request's headers, its Host line where the Location is relative, a Referer."""
    try:
        reference = parse(location)
    except BadUrl as error:
        shown = quote(as_text(location))
        raise failure(str(request.url), f"failed to parse Location header {shown}: {error.message}") from None
    url = resolve(request.url, reference)
    host = request.host if not reference.scheme and request.host != request.url.host else ""
    headers = dict(first.headers)
    leaves_tls = request.url.scheme == "https" and url.scheme == "http"
    if not leaves_tls and "Referer" not in headers:
        headers["Referer"] = [str(replace(request.url, user=None))]
    return HttpRequest(url, headers, host)


def slurp(exchange: Exchange, head: Head) -> None:
    """Read a small redirect body to its end, as Go does; only the deadline's passing matters."""
    if head.length <= SLURP_LIMIT_BYTES:
        try:
            exchange.body(head, SLURP_LIMIT_BYTES)
        except (WireError, TimedOut):
            return


def read_answer(exchange: Exchange, head: Head) -> HttpAnswer:
    """The body too: late or cut short is a prober error, for the headers were in time."""
    try:
        return HttpAnswer(head, exchange.body(head, BODY_LIMIT_BYTES))
    except TimedOut:
        return HttpAnswer(head, body_error=f"context deadline exceeded {READING_BODY}")
    except WireError as error:
        return HttpAnswer(head, body_error=error.message)


# --- one exchange ------------------------------------------------------------------------------------


class Exchange:
    """A request sent over HTTP/1.1, and its answer."""

    def __init__(self, wire: Wire, request: HttpRequest) -> None:
        self._wire = wire
        self._lines = Lines(wire)
        self._request = request

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._wire.__exit__(kind, error, traceback)

    def head(self) -> Head:
        """Send, then read status and headers."""
        self._wire.send(request_bytes(self._request))
        return http1.read_head(self._lines)

    def body(self, head: Head, limit: int) -> bytes:
        """The body, at most ``limit`` bytes."""
        return http1.read_body(self._lines, head, limit)


def connect(request: HttpRequest, limits: Limits, http2: bool) -> Exchange:
    """Open a connection for one request. Raises `WireError` or `TimedOut`."""
    check_headers(request.headers)
    url = request.url
    if url.scheme not in ("http", "https"):
        raise WireError(f"unsupported protocol scheme {quote(as_text(url.scheme))}")
    if not url.host:
        raise WireError("http: no Host in request URL")
    if url.user is not None and "Authorization" not in request.headers:
        user = url.user if ":" in url.user else f"{url.user}:"
        token = base64.b64encode(user.encode("latin-1")).decode()
        request = replace(request, headers=request.headers | {"Authorization": [f"Basic {token}"]})
    wire = dial(as_text(url.hostname), url.port, limits)
    if url.scheme == "http":
        return Exchange(wire, request)
    try:
        chosen = wire.start_tls(as_text(url.hostname), ["h2", "http/1.1"] if http2 else ["http/1.1"])
        if chosen == "h2":
            from unstall.kubelet.http2 import Exchange2

            return Exchange2(wire, request)
    except BaseException as error:
        wire.__exit__(type(error), error, None)
        raise
    return Exchange(wire, request)
