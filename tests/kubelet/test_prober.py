"""The prober against Kubernetes' own: every recorded case over real sockets, and what the cases leave out."""

from __future__ import annotations

import contextlib
import json
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from case_files import params, refuse_unknown
from case_servers import CaseServer, case_servers

from unstall.kubelet.probe_http import first_request
from unstall.kubelet.prober import ProbeAnswer, Target, container_port, probe
from unstall.kubelet.spec import handler
from unstall.kubelet.urls import BadUrl
from unstall.kubelet.wire import resolver
from unstall.model import HttpGet, ProbeType

CASE_KEYS = (
    "name", "note", "kind", "httpGet", "tcpSocket", "grpc", "timeout_s", "container_ports", "kubelet_env", "server", "expect",
)  # fmt: skip
SERVER_KEYS = ("mode", "routes", "grpc_behaviour")
EXPECT_KEYS = (
    "result", "counts_as", "event", "output", "output_len", "error", "text_from", "url", "requests", "elapsed_s", "tries",
    "user_agent",
)  # fmt: skip
HANDLERS = {"http": "httpGet", "tcp": "tcpSocket", "grpc": "grpc"}
# How late a probe may return on a busy machine; it may never return early.
LATE_S = 2.0
REPLAYS = 2


@dataclass(frozen=True)
class Played:
    """One case as it went."""

    answer: ProbeAnswer
    elapsed_s: float
    requests: list[dict[str, Any]]
    user_agents: list[str]
    url: str | None
    ports: dict[str, int]


def play(case: dict[str, Any]) -> Played:
    with case_servers(case["server"]) as (main, second):
        ports = {"port": main.port, "port2": second.port}
        holder = with_ports({HANDLERS[case["kind"]]: case[HANDLERS[case["kind"]]]}, ports)
        if "httpGet" in holder:
            holder["httpGet"].setdefault("scheme", "")
            holder["httpGet"].setdefault("path", "")
        if "grpc" in holder:
            holder["grpc"].setdefault("service", "")
        named = tuple((port["name"], int(port["containerPort"])) for port in named_ports(case, ports))
        given = case.get("kubelet_env") or {}
        env = dict(line.split("=", 1) for line in given) if isinstance(given, list) else given
        target = Target(ports=named, kubelet_env=env)
        began_at = time.monotonic()
        answer = probe(handler(holder), case["timeout_s"], target)
        elapsed_s = time.monotonic() - began_at
        return Played(answer, elapsed_s, received(main, second), main.user_agents, asked_url(holder, target), ports)


def asked_url(holder: dict[str, Any], target: Target) -> str | None:
    """Where an HTTP probe goes first."""
    get = handler(holder)
    if not isinstance(get, HttpGet):
        return None
    try:
        return str(first_request(get, container_port(get.port, target.ports), target.pod_ip).url)
    except (ValueError, BadUrl):
        return None


def named_ports(case: dict[str, Any], ports: dict[str, int]) -> list[dict[str, Any]]:
    given = case.get("container_ports") or []
    if isinstance(given, dict):
        given = [{"name": name, "containerPort": number} for name, number in given.items()]
    return [port for port in with_ports(given, ports) if port.get("name")]


def received(main: CaseServer, second: CaseServer) -> list[dict[str, Any]]:
    return main.requests + second.requests


def with_ports(value: Any, ports: dict[str, int]) -> Any:
    """Fill in the placeholders; a text that is nothing but one becomes the number."""
    if isinstance(value, str):
        for name, number in ports.items():
            if value == "{" + name + "}":
                return number
            value = value.replace("{" + name + "}", str(number))
        return value
    if isinstance(value, dict):
        return {key: with_ports(inner, ports) for key, inner in value.items()}
    return [with_ports(inner, ports) for inner in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def played() -> Any:
    """Every case is under way at once, a few at a time; each test waits for its own."""
    cases = [param.values[0] for param in params("cases_http.json") if param.values[0]]
    with ThreadPoolExecutor(max_workers=4) as pool:
        futures: dict[str, Future[Played]] = {json.dumps(case): pool.submit(play, case) for case in cases}
        yield futures


@pytest.mark.conformance
@pytest.mark.parametrize("case", params("cases_http.json"))
def test_a_probe_answers_as_the_kubelets_does(case: dict[str, Any], played: dict[str, Future[Played]]) -> None:
    refuse_unknown(case, CASE_KEYS)
    refuse_unknown(case["server"], SERVER_KEYS, "the server")
    expect = case["expect"]
    refuse_unknown(expect, EXPECT_KEYS, "expect")
    went = played[json.dumps(case)].result()
    for _ in range(REPLAYS):
        # The servers must answer within a second, which a machine busy with other things cannot promise.
        with contextlib.suppress(AssertionError):
            return check(went, expect)
        went = play(case)
    check(went, expect)


def check(went: Played, expect: dict[str, Any]) -> None:
    answer, tries = went.answer, expect.get("tries", 1)

    assert (answer.result, answer.counts_as, answer.tries) == (expect["result"], expect["counts_as"], tries)
    if "output_len" in expect:
        assert len(answer.output) == expect["output_len"]
    else:
        assert_text(answer.output, expect.get("output", ""), went.ports)
    assert_text(answer.error or "", expect.get("error", ""), went.ports)
    event = answer.event(ProbeType.LIVENESS)
    assert (event and event[0]) == expect["event"]
    if "requests" in expect:
        wanted = with_ports(expect["requests"], went.ports) * tries
        assert ordered(went.requests) == ordered(wanted)
    if "url" in expect:
        assert went.url == with_ports(expect["url"], went.ports)
    if "user_agent" in expect:
        assert went.user_agents == [expect["user_agent"]]
    # A case's time is that of one try, in tenths of a second.
    assert expect["elapsed_s"] * tries - 0.05 <= went.elapsed_s <= expect["elapsed_s"] * tries + LATE_S


def ordered(requests: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What each server received, in its order."""
    return [(name, [r for r in requests if r["server"] == name]) for name in ("main", "second")]


def assert_text(actual: str, expected: str, ports: dict[str, int]) -> None:
    pattern = re.escape(with_ports(expected, ports) if expected else "")
    pattern = pattern.replace(re.escape("{client_port}"), r"\d+").replace(
        re.escape("{resolver}"), re.escape(resolver())
    )
    assert re.fullmatch(pattern, actual, re.DOTALL), f"{actual!r} is not {expected!r}"
