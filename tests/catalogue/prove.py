"""Proves catalogue paths by introspection, in whatever environment its interpreter belongs to.

Needs nothing but the standard library, so that it runs in a bare environment: reads a JSON list of paths on
standard input, writes a JSON object of path to ``[outcome, module, distribution]``. The outcome is ``proved``, ``open`` (a type on
the way is not declared), ``missing`` (the library has no such name) or ``absent`` (the library is not installed).
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
import importlib
import importlib.metadata
import inspect
import io
import json
import os
import re
import sys
import types
import typing
import warnings

NAME = re.compile(r"\(\)|\[\]|[^.()\[\]]+")
ITERABLES = (collections.abc.Iterable, collections.abc.Iterator, collections.abc.Generator)

# Values that cannot be known from declarations: generated clients are asked for their own model.
RECIPES = {
    "boto3.client()": "__import__('boto3').client('s3', region_name='us-east-1')",
    "boto3.resource()": (
        "AnyOf(__import__('boto3').resource(service, region_name='us-east-1') for service in"
        " ('s3', 'dynamodb', 'sqs', 'sns', 'ec2', 'iam', 'cloudformation', 'cloudwatch'))"
    ),
    "elasticsearch.Elasticsearch()": "__import__('elasticsearch').Elasticsearch('http://localhost:9200')",
    "openai.OpenAI()": "__import__('openai').OpenAI(api_key='none')",
    "anthropic.Anthropic()": "__import__('anthropic').Anthropic(api_key='none')",
    "stripe.StripeClient()": "__import__('stripe').StripeClient('none')",
    "slack_sdk.WebClient()": "__import__('slack_sdk').WebClient()",
    "twilio.rest.Client()": "__import__('twilio.rest').rest.Client('AC0', 'none')",
    "github.Github()": "__import__('github').Github()",
    "docker.DockerClient()": "__import__('docker').DockerClient('tcp://127.0.0.1:1')",
    "kubernetes.client.CoreV1Api()": "__import__('kubernetes').client.CoreV1Api()",
    "google.cloud.storage.Client()": "__import__('google.cloud.storage').cloud.storage.Client.create_anonymous_client()",
    "boto3.resource().Bucket()": "__import__('boto3').resource('s3', region_name='us-east-1').Bucket('b')",
    "boto3.resource().Object()": "__import__('boto3').resource('s3', region_name='us-east-1').Object('b', 'k')",
    "boto3.resource().Table()": "__import__('boto3').resource('dynamodb', region_name='us-east-1').Table('t')",
    "boto3.client().get_paginator().paginate()": (
        "__import__('boto3').client('s3', region_name='us-east-1').get_paginator('list_objects_v2').paginate()"
    ),
    "boto3.client().get_waiter()": (
        "__import__('boto3').client('s3', region_name='us-east-1').get_waiter('bucket_exists')"
    ),
    "open()": "open(__import__('os').devnull)",
    "os.popen()": "__import__('os').popen('true')",
    "sqlalchemy.engine.RawConnection()": "__import__('sqlalchemy').create_engine('sqlite://').raw_connection()",
    "sqlalchemy.engine.RawCursor()": "__import__('sqlalchemy').create_engine('sqlite://').raw_connection().cursor()",
    "threading.Lock()": "__import__('threading').Lock()",
    "threading.RLock()": "__import__('threading').RLock()",
    "socket.socket().makefile()": "__import__('socket').socket().makefile()",
    "sys.stdin": "__import__('sys').stdin",
    "dbm.open()": "__import__('dbm').dumb.open(__import__('tempfile').mkdtemp() + '/x')",
    "mmap.mmap()": "__import__('mmap').mmap(-1, 1)",
    "subprocess.Popen().stdout": "open(__import__('os').devnull)",
    "subprocess.Popen().stderr": "open(__import__('os').devnull)",
    "subprocess.Popen().stdin": "open(__import__('os').devnull)",
    "select.poll()": "__import__('select').poll()",
    "multiprocessing.Pipe()[]": "__import__('multiprocessing').Pipe()[0]",
    "multiprocessing.Pool()": "__import__('multiprocessing.pool').pool.Pool",
}


class Value:
    """Something a path leads to: an object itself, or an instance of a class that was not made."""

    def __init__(self, thing: object, instance: bool = False, inner: object = None) -> None:
        self.thing = thing
        self.instance = instance
        self.inner = inner
        """What iterating or entering it gives, as a type hint, where that is declared."""


class AnyOf:
    """Several services' resources as one: what any of them has, it has."""

    def __init__(self, things: typing.Iterable[object]) -> None:
        self.things = list(things)

    def __getattr__(self, name: str) -> object:
        for thing in self.things:
            if hasattr(thing, name):
                return getattr(thing, name)
        raise AttributeError(name)


class Open(Exception):
    """No declaration says what comes next."""


class Missing(Exception):
    """The library says: no such name."""


class Absent(Exception):
    """The library is not installed here."""


def prove(path: str) -> tuple[str, str]:
    """The outcome for one path, with the module it was looked up in."""
    tokens = NAME.findall(path)
    try:
        module, taken = imported(tokens)
    except Absent:
        return "absent", tokens[0]
    name = getattr(module, "__name__", "builtins")
    try:
        value, taken = started(tokens, taken, module)
        for at, token in enumerate(tokens[taken:], start=taken):
            value = advanced(value, token, last=at == len(tokens) - 1)
    except Open:
        return "open", name
    except Missing as missing:
        return f"missing {missing}", name
    except Exception as error:  # a library may do anything when it is looked at
        return f"open {type(error).__name__}", name
    return "proved", name


def imported(tokens: list[str]) -> tuple[object, int]:
    """The deepest module these tokens begin with, and how many tokens name it."""
    if hasattr(builtins, tokens[0]):
        return builtins, 0
    module: object | None = None
    taken = 0
    for at, token in enumerate(tokens):
        if token in ("()", "[]", "*", "**"):
            break
        if module is not None and not is_module_or_unknown(module, token):
            break
        found = quietly_imported(".".join(tokens[: at + 1]))
        if found is None:
            break
        module, taken = found, at + 1
    if module is None or (getattr(module, "__file__", None) is None and is_namespace(module)):
        raise Absent(tokens[0])
    return module, taken


def is_module_or_unknown(module: object, name: str) -> bool:
    try:
        return isinstance(getattr(module, name, module), types.ModuleType)
    except Exception:  # a lazy value of a library that is not configured
        return False


def is_namespace(module: object) -> bool:
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.origin is None and spec.loader is not None and hasattr(module, "__path__")


@functools.cache
def quietly_imported(name: str) -> object | None:
    try:
        return importlib.import_module(name)
    except BaseException:
        return None


def started(tokens: list[str], taken: int, module: object) -> tuple[Value, int]:
    """Begin at the longest prefix there is a recipe for, else at the module."""
    for end in range(len(tokens), 0, -1):
        recipe = RECIPES.get(spelled(tokens[:end]))
        if recipe is not None:
            return Value(made(recipe)), end
    return Value(module), taken


@functools.cache
def made(recipe: str) -> object:
    return eval(recipe)


def spelled(tokens: list[str]) -> str:
    return "".join(("" if token in ("()", "[]") or at == 0 else ".") + token for at, token in enumerate(tokens))


def advanced(value: Value, token: str, last: bool) -> Value:
    """One token further."""
    if token == "()":
        return called(value)
    if token == "[]":
        return element(value)
    if token in ("*", "**"):
        if not last:
            raise Open
        return value
    if token in ("__iter__", "__enter__"):
        return entered(value, token)
    return attribute(value, token)


def attribute(value: Value, name: str) -> Value:
    if not value.instance:
        found = inspect.getattr_static(value.thing, name, Missing) if isinstance(value.thing, type) else Missing
        if isinstance(found, property | functools.cached_property):
            return described(found)
        try:
            return Value(getattr(value.thing, name))
        except AttributeError:
            if isinstance(value.thing, type):
                return declared(value.thing, name)
            raise Missing(name) from None
    cls = value.thing
    found = inspect.getattr_static(cls, name, Missing)
    if isinstance(found, property | functools.cached_property):
        return described(found)
    if found is not Missing and not isinstance(found, types.MemberDescriptorType):
        got = getattr(cls, name, found)
        wrapped = hasattr(type(got), "__get__") or callable(got)
        return Value(got) if wrapped else Value(type(got), instance=True)
    return declared(cls, name)


def declared(cls: typing.Any, name: str) -> Value:
    """An attribute that only annotations or the constructor's source know of."""
    for base in cls.__mro__:
        if name in base.__dict__.get("__annotations__", {}):
            return hinted(hints(base).get(name))
    for base in cls.__mro__[:-1]:
        if base.__module__ != "builtins" and re.search(rf"self\.{name}\b\s*(:|=[^=])", source(base)):
            return Value(None)
    if any("__getattr__" in base.__dict__ for base in cls.__mro__):
        raise Open
    raise Missing(name)


@functools.cache
def source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


def hints(thing: typing.Any) -> dict[str, typing.Any]:
    try:
        return typing.get_type_hints(thing)
    except Exception:
        return {}


def described(found: typing.Any) -> Value:
    function = found.fget if isinstance(found, property) else found.func
    return hinted(hints(function).get("return"))


def hinted(hint: typing.Any) -> Value:
    """The instance that a type hint promises; ``Value(None)`` where it promises nothing we can follow."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return hinted(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return hinted(choices[0]) if choices else Value(None)
    if isinstance(origin, type):
        return Value(origin, instance=True, inner=next(iter(typing.get_args(hint)), None))
    return Value(hint, instance=True) if isinstance(hint, type) and hint is not type(None) else Value(None)


def called(value: Value) -> Value:
    thing = value.thing
    if thing is None:
        return Value(None)
    if isinstance(thing, type) and not value.instance:
        return Value(thing, instance=True)
    function = thing.__call__ if value.instance else thing
    if value.instance and not callable(getattr(thing, "__call__", None)):  # noqa: B004
        raise Missing("()")
    if inspect.isgeneratorfunction(inspect.unwrap(function)):
        declared_return = hints(inspect.unwrap(function)).get("return")
        return Value(collections.abc.Generator, instance=True, inner=next(iter(typing.get_args(declared_return)), None))
    self_type = getattr(function, "__self__", None)
    hint = hints(inspect.unwrap(function)).get("return")
    if hint is getattr(typing, "Self", object()) and isinstance(self_type, type):
        return Value(self_type, instance=True)
    return hinted(hint)


def element(value: Value) -> Value:
    return Value(None) if value.inner is None else hinted(value.inner)


def entered(value: Value, dunder: str) -> Value:
    cls = value.thing if value.instance else type(value.thing)
    if value.thing is None:
        raise Open
    if hasattr(cls, dunder) or (dunder == "__iter__" and hasattr(cls, "__getitem__")):
        return Value(None)
    if dunder == "__iter__" and hasattr(cls, "__next__"):
        return Value(None)
    if dunder == "__enter__" and isinstance(cls, type) and issubclass(cls, collections.abc.Generator):
        return Value(None)
    raise Missing(dunder)


_attribute, _called, _element = attribute, called, element


def attribute_or_open(value: Value, name: str) -> Value:
    """Nothing can be said about an attribute of a value nobody declared."""
    if value.thing is None:
        raise Open
    if value.instance and value.inner is not None and not hasattr(value.thing, name):
        return attribute_or_open(hinted(value.inner), name)  # a context manager stands for what it gives
    return _attribute(value, name)


attribute = attribute_or_open


def distributions() -> dict[str, str]:
    """File path to the distribution that brought it, as ``name version``."""
    owners: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        said = f"{distribution.metadata['Name']} {distribution.version}"
        for file in distribution.files or ():
            if file.name.endswith((".py", ".so", ".pyd")):
                owners[str(file)] = said
    return owners


def owner(module: str, owners: dict[str, str]) -> str:
    """The distribution a module came with, ``CPython 3.11.7`` for the standard library's."""
    if module.partition(".")[0] in sys.stdlib_module_names or module == "builtins":
        return "CPython " + ".".join(map(str, sys.version_info[:3]))
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    parts = file.split(os.sep)
    return next((owners[tail] for at in range(len(parts)) if (tail := "/".join(parts[at:])) in owners), "")


def prove_all(paths: list[str]) -> dict[str, tuple[str, str, str]]:
    """Every path's outcome, module and distribution."""
    warnings.simplefilter("ignore")
    outcomes = {path: prove(path) for path in paths}
    owners = distributions()
    return {path: (outcome, module, owner(module, owners)) for path, (outcome, module) in outcomes.items()}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    out, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
    json.dump(prove_all(asked), out)
    out.flush()
    os._exit(0)
