"""Callbacks, partials, lambdas, nested functions, decorators, registries, class instances that are called."""

import functools
import time

import requests


def fetch():
    return requests.get("http://x")  # expect UNS102: callback > apply > fetch > requests.get; bound > fetch > requests.get; decorated > logged.wrapper > fetch_logged > fetch > requests.get; by_list > fetch > requests.get


def fine():
    return 1


def apply(function, *args):
    return function(*args)


async def callback():
    apply(fine)
    apply(fetch)


async def only_fine():
    apply(fine)


async def bound():
    call = functools.partial(fetch)
    call()


async def library_partial():
    wait = functools.partial(time.sleep, 1)
    wait()  # expect UNS101: library_partial > time.sleep
    functools.partial(time.sleep, 1)


async def with_lambda():
    nap = lambda: time.sleep(1)  # expect UNS101: with_lambda > with_lambda.<lambda> > time.sleep
    unused = lambda: time.sleep(2)
    nap()
    return unused


async def with_nested():
    def inner():
        time.sleep(1)  # expect UNS101: with_nested > with_nested.inner > time.sleep

    def never():
        time.sleep(1)

    inner()
    return never


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@logged
def fetch_logged():
    return fetch()


async def decorated():
    fetch_logged()


class Pdf:
    def read(self):
        time.sleep(1)  # expect UNS101: by_name > Pdf.read > time.sleep


class Text:
    def read(self):
        return ""


FORMATS = {"pdf": Pdf(), "txt": Text()}
HOOKS = [fetch]


def get_format(name):
    return FORMATS[name]


async def by_name(name):
    get_format(name).read()


async def by_list():
    for hook in HOOKS:
        hook()


class Caller:
    def __init__(self):
        time.sleep(1)  # expect UNS101: instance > Caller.__init__ > time.sleep

    def __call__(self):
        time.sleep(2)  # expect UNS101: instance > Caller.__call__ > time.sleep


async def instance():
    Caller()()
    return Caller


def retry(function):
    while True:
        try:
            return function()
        except ValueError:
            time.sleep(1)  # expect UNS101: retried > retry > time.sleep


async def retried():
    return retry(fine)
