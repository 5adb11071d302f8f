"""Source bytes to text."""

from __future__ import annotations

import tokenize
from io import BytesIO


def decode(data: bytes) -> str:
    """Text by the file's own declaration of encoding; bytes that do not fit are replaced."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        text = data.decode("utf-8", "replace")
    return text.removeprefix("\ufeff")
