"""Return inference, with, unpacking, iteration, generators, branches, lazy cursors."""

import contextlib
import sqlite3
import threading
import time

import httpx
import pymongo
import requests


def make():
    return requests.Session()


def pair():
    return make(), 1


async def inferred():
    make().get("http://x")  # expect UNS102: inferred > requests.Session().get
    session, number = pair()
    session.get("http://x")  # expect UNS102: inferred > requests.Session().get
    number.get("http://x")


async def entered():
    with requests.Session() as session:
        session.get("http://x")  # expect UNS102: entered > requests.Session().get
    async with httpx.AsyncClient() as client:
        await client.get("http://x")


@contextlib.contextmanager
def slow_context():
    time.sleep(1)  # expect UNS101: uses_context > slow_context > time.sleep
    yield sqlite3.connect("x")  # expect UNS103: uses_context > slow_context > sqlite3.connect


async def uses_context():
    with slow_context() as connection:
        connection.execute("select 1")  # expect UNS103: uses_context > sqlite3.Connection().execute
    slow_context


def numbers():
    yield 1
    time.sleep(1)  # expect UNS101: iterates > numbers > time.sleep; lists > numbers > time.sleep


async def iterates():
    for number in numbers():
        print(number)


async def lists():
    return list(numbers())


async def never_iterated():
    return numbers()


class Pages:
    def __iter__(self):
        time.sleep(1)  # expect UNS101: iterates_object > Pages.__iter__ > time.sleep
        return iter(())


async def iterates_object():
    return [page for page in Pages()]


async def lazy():
    found = pymongo.MongoClient().shop.orders.find({})
    return list(found)  # expect UNS103: lazy > pymongo.cursor.Cursor()


async def rebound():
    client = requests.Session()
    client = httpx.AsyncClient()
    await client.get("http://x")
    waiting = client.get("http://y")
    return await waiting


lock = threading.Lock()
quick_lock = threading.Lock()


async def locked():
    with lock:  # expect UNS106: locked > threading.Lock()
        time.sleep(1)  # expect UNS101: locked > time.sleep


async def locked_for_a_moment(values):
    with quick_lock:
        values.append(1)
