"""Go's way to print a quoted string or a duration, which the kubelet's texts are made of."""

from __future__ import annotations

ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def quote(text: str) -> str:
    r"""Go's ``%q``.

    >>> quote('a "b"\n')
    '"a \\"b\\"\\n"'
    """
    return '"' + "".join(quoted_character(character) for character in text) + '"'


def quoted_character(character: str) -> str:
    """One character as ``%q`` shows it; bytes that are no UTF-8 arrive as lone surrogates."""
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if character in ESCAPES:
        return ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def duration(seconds: float) -> str:
    """Go's ``time.Duration`` in print.

    >>> duration(1), duration(0.5), duration(90), duration(3600), duration(0)
    ('1s', '500ms', '1m30s', '1h0m0s', '0s')
    """
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000_000_000:
        unit, size = next((u, s) for u, s in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)) if nanoseconds >= s)
        return f"{sign}{fraction(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = fraction(rest, 1_000_000_000) + "s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def fraction(amount: int, size: int) -> str:
    """``amount / size`` without trailing zeros, exactly."""
    whole, rest = divmod(amount, size)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(size)) - 1, '0').rstrip('0')}"
