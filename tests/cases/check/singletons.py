"""Values that a function puts into the module, made of its own names; futures of a pool."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import requests

_session = None
_clients = {}
_quiet = None


def session():
    global _session
    if _session is None:
        from requests import Session as Made

        made = Made()
        _session = made
    return _session


async def uses_singleton():
    session().get("http://x")  # expect UNS102: uses_singleton > requests.Session().get


def client(name):
    if name not in _clients:
        made = boto3.client(name)  # expect UNS104: uses_registry > client > boto3.client
        _clients[name] = made
    return _clients[name]


async def uses_registry():
    client("s3").put_object(Bucket="b")  # expect UNS109: uses_registry > boto3.client().put_object


def quiet():
    global _quiet
    made = dict
    _quiet = made()
    return _quiet


async def uses_quiet():
    quiet().get("http://x")


def counter():
    fetch = None

    def use():
        nonlocal fetch
        found = requests.get
        fetch = found

    use()
    return fetch


async def uses_nonlocal():
    counter()("http://x")  # expect UNS102: uses_nonlocal > requests.get


def read(url):
    return requests.get(url)


async def waits_for_a_pool(pool: ThreadPoolExecutor):
    future = pool.submit(read, "http://x")
    return future.result()  # expect UNS106: waits_for_a_pool > concurrent.futures.Future().result


async def awaits_a_pool(pool: ThreadPoolExecutor, loop):
    await loop.run_in_executor(pool, read, "http://x")
    pool.submit(read, "http://x")
