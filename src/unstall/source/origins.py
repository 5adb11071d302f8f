"""What calls into the standard library give back, as far as it carries values on."""

from __future__ import annotations

import builtins

BUILTINS = frozenset(dir(builtins))

DEPENDS = frozenset(
    f"{module}.{name}"
    for module in ("fastapi", "fastapi.params", "fastapi.param_functions")
    for name in ("Depends", "Security")
) | {"fast_depends.Depends", "faststream.Depends"}

COPIED = frozenset(
    ["list", "tuple", "set", "frozenset", "sorted", "dict", "collections.deque", "collections.OrderedDict"]
)
"""Calls that iterate what they are given and give a container of what was in it."""
SAME = frozenset(
    [
        "reversed",
        "iter",
        "copy.copy",
        "copy.deepcopy",
        "itertools.chain",
        "itertools.islice",
        "itertools.cycle",
        "contextlib.closing",
        "contextlib.nullcontext",
        "typing.no_type_check",
        "weakref.proxy",
        "filter",
    ]
)
"""Calls that give what they are given, or a container of the same."""
ELEMENT = frozenset(["next", "min", "max", "random.choice"])
"""Calls that give an element of what they are given."""
CONSUMERS = frozenset(
    [
        "list",
        "tuple",
        "set",
        "frozenset",
        "sorted",
        "dict",
        "sum",
        "any",
        "all",
        "min",
        "max",
        "enumerate",
        "zip",
        "map",
        "filter",
        "next",
        "collections.deque",
        "functools.reduce",
        "itertools.chain",
        "collections.Counter",
    ]
)
"""Calls that iterate what they are given."""
CALLERS = frozenset(["map", "filter", "sorted", "min", "max", "functools.reduce"])
"""Calls that call what they are given, at once or when they are iterated."""

CONTAINERS = frozenset(
    [
        "list",
        "List",
        "set",
        "Set",
        "frozenset",
        "FrozenSet",
        "tuple",
        "Tuple",
        "Sequence",
        "MutableSequence",
        "Iterable",
        "Iterator",
        "Collection",
        "Deque",
        "deque",
        "Generator",
        "AsyncGenerator",
        "AsyncIterator",
        "AsyncIterable",
        "Awaitable",
        "Coroutine",
        "ContextManager",
        "AsyncContextManager",
        "AbstractContextManager",
        "AbstractAsyncContextManager",
    ]
)
MAPPINGS = frozenset(
    ["dict", "Dict", "Mapping", "MutableMapping", "defaultdict", "DefaultDict", "OrderedDict", "ChainMap"]
)
CHOICES = frozenset({"Optional", "Union"})
TRANSPARENT = frozenset(["Final", "ClassVar", "Required", "NotRequired", "ReadOnly", "Mapped", "Unpack"])
SCALARS = frozenset(
    [
        "str",
        "int",
        "float",
        "bool",
        "bytes",
        "bytearray",
        "complex",
        "object",
        "None",
        "Any",
        "Callable",
        "Literal",
        "Never",
        "NoReturn",
        "TypeVar",
        "ParamSpec",
        "LiteralString",
        "AnyStr",
        "Hashable",
        "Sized",
        "date",
        "datetime",
        "timedelta",
        "Decimal",
        "UUID",
    ]
)

ON_LOOP = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_done_callback": 0,
    "add_signal_handler": 1,
    "add_reader": 1,
    "add_writer": 1,
}
"""Methods whose callable argument the event loop calls."""

BODIES = (
    "UploadFile().read",
    "UploadFile().file.read",
    "Request().body",
    "Request().read",
    "Attachment().read",
    "ClientSession().get().read",
    "ClientSession().get().__aenter__().read",
    "Response().read",
    "Response().aread",
)
"""Ends of what gives a whole upload or download, as large as the other side makes it."""
BODY_ATTRIBUTES = frozenset({"content", "text"})
CLIENTS = ("httpx.", "requests.")
