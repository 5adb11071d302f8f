"""URLs as Go reads, resolves and prints them, because the kubelet's probe target is whatever Go makes of the path.

Python's `urllib.parse` repairs what Go refuses, so a probe built with it would ask for another path than the
kubelet does. Text is held as one character per byte (UTF-8 read as Latin-1): Go's rules are about bytes.
"""

from __future__ import annotations

import ipaddress
import string
from dataclasses import dataclass, replace

from unstall.errors import UnstallError
from unstall.kubelet.wording import quote

ALPHANUMERIC = frozenset(string.ascii_letters + string.digits)
HEX = frozenset(string.hexdigits)
SAFE = ALPHANUMERIC | frozenset("-_.~")
# What stays as it is in each part; all else is written %XX.
PLAIN = {
    "path": SAFE | frozenset("$&+,/:;=@"),
    "host": SAFE | frozenset("!$&'()*+,;=:[]<>\""),
    "fragment": SAFE | frozenset("$&+,/:;=?@!()*"),
    "user": SAFE | frozenset("$&+,;="),
}
# Legal in an already encoded path or fragment, though Go would not write them so itself.
ALLOWED_ENCODED = frozenset("!$&'()*+,;=:@[]%")


class BadUrl(UnstallError):
    """Go's ``url.Parse`` refuses the text; the message is Go's."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in Go's parts: ``path`` decoded, ``raw_path`` as it was written where that differs."""

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    host: str = ""
    path: str = ""
    raw_path: str = ""
    omit_host: bool = False
    force_query: bool = False
    query: str = ""
    fragment: str = ""
    raw_fragment: str = ""

    @property
    def hostname(self) -> str:
        """The host without port and brackets."""
        name, colon, port = self.host.rpartition(":")
        host = name if colon and (not port or port.isdigit()) and not port.endswith("]") else self.host
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @property
    def port(self) -> int:
        """The port, by the scheme where none is written; it may be out of range."""
        _, colon, port = self.host.rpartition(":")
        if colon and port.isdigit():
            return int(port)
        return 443 if self.scheme == "https" else 80

    @property
    def encoded_path(self) -> str:
        """The path as it goes over the wire."""
        return encoded(self.path, self.raw_path, "path")

    @property
    def request_target(self) -> str:
        """What stands in the request line: path and query, never the fragment."""
        target = self.opaque or self.encoded_path or "/"
        if self.opaque.startswith("//"):
            target = f"{self.scheme}:{target}"
        return target + (f"?{self.query}" if self.force_query or self.query else "")

    def __str__(self) -> str:
        return written(self)


def as_bytes_text(text: str) -> str:
    """One character per byte of the text's UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def as_text(bytes_text: str) -> str:
    """The reverse of `as_bytes_text`; bytes that are no UTF-8 become lone surrogates."""
    return bytes_text.encode("latin-1").decode("utf-8", "surrogateescape")


def parse(text: str) -> Url:
    """Read one URL or reference. Raises `BadUrl` with Go's words, as ``parse "...": missing protocol scheme``."""
    rest, _, fragment = text.partition("#")
    try:
        url = parse_without_fragment(rest)
    except BadUrl as error:
        raise BadUrl(f"parse {quote(as_text(rest))}: {error.message}") from None
    if not fragment:
        return url
    try:
        decoded = unescape(fragment, "fragment")
    except BadUrl as error:
        raise BadUrl(f"parse {quote(as_text(text))}: {error.message}") from None
    return replace(url, fragment=decoded, raw_fragment="" if escape(decoded, "fragment") == fragment else fragment)


def parse_without_fragment(text: str) -> Url:
    """Everything before the ``#``."""
    if any(character < " " or character == "\x7f" for character in text):
        raise BadUrl("net/url: invalid control character in URL")
    if text == "*":
        return Url(path="*")
    scheme, rest = split_scheme(text)
    force_query = rest.endswith("?") and rest.count("?") == 1
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme=scheme, opaque=rest, force_query=force_query, query=query)
        if ":" in rest.partition("/")[0]:
            raise BadUrl("first path segment in URL cannot contain colon")
    user, host, omit_host = None, "", False
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        user, host = split_authority(authority)
    elif scheme and rest.startswith("/"):
        omit_host = True
    path, raw_path = path_parts(rest)
    return Url(scheme, "", user, host, path, raw_path, omit_host, force_query, query)


def split_scheme(text: str) -> tuple[str, str]:
    """``http://x`` to ``http`` and ``//x``; no scheme is not an error, an empty one is."""
    for index, character in enumerate(text):
        if character.isascii() and character.isalpha():
            continue
        if character.isdigit() or character in "+-.":
            if index == 0:
                break
            continue
        if character == ":":
            if index == 0:
                raise BadUrl("missing protocol scheme")
            return text[:index].lower(), text[index + 1 :]
        break
    return "", text


def split_authority(authority: str) -> tuple[str | None, str]:
    """``user@host:port`` to its user and its host with port."""
    user, at, host = authority.rpartition("@")
    if host.startswith("["):
        closing = host.rfind("]")
        if closing < 0:
            raise BadUrl("missing ']' in host")
        if "[" in host[1:]:
            raise BadUrl("invalid IP-literal")
        check_address(host[1:closing])
        after = host[closing + 1 :]
    elif "[" in host:
        raise BadUrl("invalid IP-literal")
    else:
        colon = host.rfind(":")
        after = host[colon:] if colon >= 0 else ""
    if after and not (after[0] == ":" and (after[1:] == "" or after[1:].isdigit())):
        raise BadUrl(f"invalid port {quote(as_text(after))} after host")
    host = unescape(host, "host")
    if not at:
        return None, host
    if not all(character in SAFE or character in "!$&'()*+,;=%@:" for character in user):
        raise BadUrl("net/url: invalid userinfo")
    return ":".join(escape(unescape(word, "user"), "user") for word in user.split(":", 1)), host


def check_address(text: str) -> None:
    """What stands in brackets must be an IPv6 address, a zone perhaps behind it."""
    try:
        ipaddress.IPv6Address(text.replace("%25", "%"))
    except ValueError:
        raise BadUrl(f"invalid host: ParseAddr({quote(as_text(text))}): unable to parse IP") from None


def path_parts(written_path: str) -> tuple[str, str]:
    """A path as written to its decoded form, and the written form where Go would write it differently."""
    decoded = unescape(written_path, "path")
    return decoded, "" if escape(decoded, "path") == written_path else written_path


def unescape(text: str, part: str) -> str:
    """Decode %XX; in a host only bytes outside ASCII may be encoded."""
    out = []
    index = 0
    while index < len(text):
        character = text[index]
        if character == "%":
            triple = text[index : index + 3]
            if len(triple) < 3 or not set(triple[1:]) <= HEX:
                raise BadUrl(f"invalid URL escape {quote(as_text(triple))}")
            if part == "host" and int(triple[1], 16) < 8 and triple != "%25":
                raise BadUrl(f"invalid URL escape {quote(triple)}")
            out.append(chr(int(triple[1:], 16)))
            index += 3
            continue
        if part == "host" and character < "\x80" and character not in PLAIN["host"]:
            raise BadUrl(f"invalid character {quote(character)} in host name")
        out.append(character)
        index += 1
    return "".join(out)


def escape(text: str, part: str) -> str:
    """Write all that is not plain in this part as %XX."""
    plain = PLAIN[part]
    return "".join(character if character in plain else f"%{ord(character):02X}" for character in text)


def encoded(decoded: str, raw: str, part: str) -> str:
    """The written form where it is a legal encoding of the decoded one, else Go's own encoding."""
    if raw and all(character in ALLOWED_ENCODED or character in PLAIN[part] for character in raw):
        try:
            if unescape(raw, part) == decoded:
                return raw
        except BadUrl:
            pass
    return "*" if decoded == "*" and part == "path" else escape(decoded, part)


def written(url: Url) -> str:
    """The whole URL, as Go's ``URL.String``."""
    out = f"{url.scheme}:" if url.scheme else ""
    if url.opaque:
        out += url.opaque
    else:
        has_authority = bool(url.host) or url.user is not None
        if (url.scheme or has_authority) and not (url.omit_host and not has_authority):
            if has_authority or url.path:
                out += "//"
            out += "" if url.user is None else f"{url.user}@"
            out += escape(url.host, "host")
        path = url.encoded_path
        if path and not path.startswith("/") and url.host:
            out += "/"
        if not out and ":" in path.partition("/")[0]:
            out += "./"
        out += path
    out += f"?{url.query}" if url.force_query or url.query else ""
    return out + (f"#{encoded(url.fragment, url.raw_fragment, 'fragment')}" if url.fragment else "")


def resolve(base: Url, reference: Url) -> Url:
    """Where a reference leads from ``base``, as a redirect's Location is read."""
    url = reference if reference.scheme else replace(reference, scheme=base.scheme)
    if reference.scheme or reference.host or reference.user is not None:
        return with_path(url, joined(reference.encoded_path, ""))
    if reference.opaque:
        return url
    if not reference.path and not reference.force_query and not reference.query:
        url = replace(url, query=base.query)
        if not reference.fragment:
            url = replace(url, fragment=base.fragment, raw_fragment=base.raw_fragment)
    if not reference.path and base.opaque:
        return replace(url, opaque=base.opaque, user=None, host="")
    url = replace(url, host=base.host, user=base.user)
    return with_path(url, joined(base.encoded_path, reference.encoded_path))


def with_path(url: Url, written_path: str) -> Url:
    """The same URL with another, already encoded path."""
    path, raw_path = path_parts(written_path)
    return replace(url, path=path, raw_path=raw_path)


def joined(base: str, reference: str) -> str:
    """A reference's path against a base path, dot segments removed."""
    if not reference:
        full = base
    elif reference.startswith("/"):
        full = reference
    else:
        full = base[: base.rfind("/") + 1] + reference
    if not full:
        return ""
    path, at_start = "/", True
    segments = full.split("/")
    for segment in segments:
        if segment == "..":
            path = path[: path.rfind("/", 1)] if "/" in path[1:] else "/"
            at_start = path == "/"
        elif segment == ".":
            at_start = False
        else:
            path += segment if at_start else f"/{segment}"
            at_start = False
    if segments[-1] in (".", ".."):
        path += "/"
    # The slash that the path began with, and the base's own, are one.
    return path[1:] if path.startswith("//") else path
