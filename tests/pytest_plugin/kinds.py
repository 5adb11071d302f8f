"""The ways to stall that bench/stalls_app.py has, by what they are."""

CALLS = [
    "sleep",
    "http",
    "requests",
    "socket",
    "file",
    "fsync",
    "sqlite",
    "sqlite-lock",
    "subprocess",
    "system",
    "lock",
    "event",
    "queue",
    "future",
    "join",
    "pbkdf2",
    "scrypt",
    "depends",
    "middleware",
    "background",
    "stream",
    "task",
    "gather",
    "callback",
    "deep",
]
COMPUTING = ["cpu", "re", "json", "dumps", "sort", "int", "zlib", "pydantic"]
NEGATIVE = ["negative/thread", "negative/to_thread", "negative/short"]
