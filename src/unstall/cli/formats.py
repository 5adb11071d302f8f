"""Findings for machines: json, sarif, github, concise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from unstall import __version__
from unstall.model import CallChain, Finding, Site
from unstall.source.check import CheckReport

SCHEMA = 1
_NONE: Mapping[str, str] = MappingProxyType({})
RULES = {
    "UNS100": ("blocking-call", "blocking call by your settings"),
    "UNS101": ("blocking-sleep", "blocking sleep"),
    "UNS102": ("blocking-http", "blocking HTTP call"),
    "UNS103": ("blocking-database", "blocking database call"),
    "UNS104": ("blocking-file", "blocking file operation"),
    "UNS105": ("blocking-subprocess", "wait for a child process"),
    "UNS106": ("blocking-lock", "wait for a thread"),
    "UNS107": ("blocking-dns", "blocking name look-up"),
    "UNS108": ("cpu-bound", "CPU-bound call"),
    "UNS109": ("blocking-sdk", "blocking call of a client library"),
    "UNS110": ("sync-over-async", "sync wait for async work"),
}
_HTTP = frozenset(
    [
        "requests",
        "requests_oauthlib",
        "requests_toolbelt",
        "requests_cache",
        "cloudscraper",
        "httpx",
        "httpcore",
        "urllib",
        "urllib3",
        "http",
        "aiohttp",
        "pycurl",
        "curl_cffi",
        "niquests",
        "httplib2",
        "grequests",
        "gql",
        "zeep",
        "suds",
        "authlib",
        "jwt",
        "xmlrpc",
        "treq",
        "primp",
        "hishel",
    ]
)
"""Packages whose blocking calls are HTTP; UNS102 has others too."""
_LEVELS = {"error": "error", "warning": "warning", "note": "note"}


def title(rule: str, primitive: str = "") -> str:
    """What a rule finds, as in ``blocking HTTP call on the event loop``; mail, SSH and sockets are called by what they are."""
    what = RULES.get(rule, ("", "blocking call"))[1]
    if rule == "UNS102" and primitive and primitive.partition(".")[0].removesuffix("()") not in _HTTP:
        what = "blocking network call"
    return f"{what} on the event loop"


def to_json(report: CheckReport, fixes: Mapping[str, str] = _NONE) -> str:
    """The whole report; paths relative to the root that was checked. ``fixes``: what `unstall fix` has, by key."""
    stats = report.stats
    plain = {
        "schema": SCHEMA,
        "findings": [_finding(finding, fixes) for finding in report.findings],
        "unused_ignores": [{"path": u.path, "line": u.line, "rules": list(u.rules)} for u in report.unused_ignores],
        "stats": {
            "files": stats.files,
            "lines": stats.lines,
            "functions": stats.functions,
            "coroutines": stats.coroutines,
            "routes": stats.routes,
            "tests_left_out": stats.tests_left_out,
            "suppressed": stats.suppressed,
            "notes": stats.notes,
            "unparsed": [{"path": path, "reason": reason} for path, reason in stats.unparsed],
            "unknown": [{"path": path, "line": line, "through": what} for path, line, what in stats.unknown],
        },
    }
    return json.dumps(plain, indent=1)


def _finding(finding: Finding, fixes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "key": finding.key,
        "site": _site(finding.site),
        "primitive": finding.primitive.name,
        "why": finding.primitive.why,
        "chains": [_chain(chain) for chain in finding.chains],
        "fix": fixes.get(finding.key, finding.fix),
        "fixable": finding.key in fixes,
    }


def _site(site: Site) -> dict[str, Any]:
    return {"path": site.path, "line": site.line, "column": site.column, "qualname": site.qualname}


def _chain(chain: CallChain) -> dict[str, Any]:
    entrance = chain.entrance
    return {
        "entrance": {
            "kind": entrance.kind,
            "label": entrance.label,
            "path": entrance.site.path,
            "line": entrance.site.line,
            "qualname": entrance.site.qualname,
        },
        "steps": [
            {**_site(step.site), "callee": step.callee, "how": step.how, "confidence": step.confidence}
            for step in chain.steps
        ],
    }


def message(finding: Finding) -> str:
    """One sentence: what blocks, and who waits."""
    chain = finding.chains[0]
    others = len(finding.chains) - 1
    also = f" and {others} more {'chain' if others == 1 else 'chains'}" if others else ""
    return f"{title(finding.rule, finding.primitive.name)}: {finding.primitive.name}, reached from {chain.entrance.label}{also}"


def to_concise(report: CheckReport, prefix: str = "") -> str:
    """One line a finding: ``path:line:column: UNS102 message``; ``prefix`` is how the checked folder is reached."""
    return "".join(
        f"{prefix}{f.site.path}:{f.site.line}:{f.site.column}: {f.rule} {f.severity}: {message(f)}\n"
        for f in report.findings
    )


def to_github(report: CheckReport, prefix: str = "") -> str:
    """Workflow commands, which GitHub shows as annotations where paths start at the repository's top."""
    lines = []
    for finding in report.findings:
        level = {"error": "error", "warning": "warning"}.get(finding.severity, "notice")
        site = finding.site
        file, title_ = _property(prefix + site.path), _property(f"unstall {finding.rule}")
        where = f"file={file},line={site.line},col={site.column},title={title_}"
        chain = " -> ".join([finding.chains[0].entrance.label, *(step.callee for step in finding.chains[0].steps)])
        lines.append(f"::{level} {where}::{_data(message(finding) + chr(10) + chain)}\n")
    return "".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def to_sarif(
    report: CheckReport,
    prefix: str = "",
    help_of: Callable[[str], str] | None = None,
    fixes: Mapping[str, str] = _NONE,
) -> str:
    """SARIF 2.1.0: every chain as a code flow, a fingerprint that survives edits elsewhere."""
    used = sorted({finding.rule for finding in report.findings})
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "unstall", "version": __version__, "rules": [_rule(r, help_of) for r in used]}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, used, prefix, fixes) for finding in report.findings],
            }
        ],
    }
    return json.dumps(document, indent=1)


def _rule(rule: str, help_of: Callable[[str], str] | None) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": rule,
        "name": RULES.get(rule, ("blocking-call", ""))[0],
        "shortDescription": {"text": title(rule)[0].upper() + title(rule)[1:]},
    }
    text = help_of(rule) if help_of is not None else None
    if text:
        plain["help"] = {"text": text, "markdown": text}
    return plain


def _result(finding: Finding, used: list[str], prefix: str, fixes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": used.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": message(finding)},
        "locations": [{"physicalLocation": _location(finding.site, prefix)}],
        "partialFingerprints": {"unstallKey/v1": hashlib.sha256(finding.key.encode()).hexdigest()},
        "codeFlows": [_flow(chain, prefix) for chain in finding.chains],
        "properties": {"fixable": finding.key in fixes},
    }


def _location(site: Site, prefix: str) -> dict[str, Any]:
    path = quote(prefix + site.path)
    file = {"uri": f"file://{path}"} if path.startswith("/") else {"uri": path, "uriBaseId": "%SRCROOT%"}
    return {
        "artifactLocation": file,
        "region": {"startLine": site.line, "startColumn": site.column},
    }


def _flow(chain: CallChain, prefix: str) -> dict[str, Any]:
    places = [(chain.entrance.site, chain.entrance.label), *((s.site, s.callee) for s in chain.steps)]
    return {
        "threadFlows": [
            {
                "locations": [
                    {"location": {"physicalLocation": _location(site, prefix), "message": {"text": text}}}
                    for site, text in places
                ]
            }
        ]
    }
