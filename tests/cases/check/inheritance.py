"""Look-up order, overrides, super(), abstract receivers, template methods, subclasses of library classes."""

import threading
import time
from abc import ABC, abstractmethod
from typing import Protocol

import requests


class Base(ABC):
    @abstractmethod
    def data(self): ...

    async def render(self):
        return self.data()

    def plain(self):
        return 1


class Sleepy(Base):
    def data(self):
        time.sleep(1)  # expect UNS101: Base.render > Sleepy.data > time.sleep
        return self.plain()


class Store(Protocol):
    def load(self) -> bytes: ...

    def name(self) -> str: ...


class HttpStore:
    def load(self):
        return requests.get("http://x").content


class SleepyStore:
    def load(self):
        time.sleep(1)  # expect UNS101: Depot.read > SleepyStore.load > time.sleep; open_store > SleepyStore.load > time.sleep

    def name(self):
        return "http"


class Explicit(Store):
    def load(self) -> bytes:
        return requests.get("http://y").content  # expect UNS102: use_store > Explicit.load > requests.get; open_store > Explicit.load > requests.get; Depot.read > Explicit.load > requests.get

    def name(self) -> str:
        return "explicit"


async def use_store(store: Store):
    store.name()
    return store.load()


async def open_store(store: Store):
    return store.load()


class Depot:
    def __init__(self, store: Store) -> None:
        self.store = store

    async def read(self):
        return self.store.load()


async def opened():
    await open_store(SleepyStore())
    return Depot(SleepyStore())


class Parent:
    def work(self):
        time.sleep(1)  # expect UNS101: use_child > Child.work > Parent.work > time.sleep

    def other(self):
        time.sleep(1)


class Child(Parent):
    def work(self):
        super().work()

    def other(self):
        return None


async def use_child():
    child = Child()
    child.work()
    child.other()


class Session(requests.Session):
    def label(self):
        return "s"


async def use_library_subclass():
    session = Session()
    session.label()
    session.get("http://x")  # expect UNS102: use_library_subclass > requests.Session().get


class Worker(threading.Thread):
    def run(self):
        time.sleep(1)


async def start():
    Worker().start()
