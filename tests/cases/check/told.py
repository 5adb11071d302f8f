"""What is declared counts where a value comes out of a library; what comes out of a thread is known again."""

import asyncio
import time
from collections.abc import Collection

import boto3
import lifting
import pymongo
import requests


class Store:
    def save(self):
        time.sleep(1)  # expect UNS101: declared_result > Store.save > time.sleep

    def load(self):
        time.sleep(1)  # expect UNS101: declared_pair > Store.load > time.sleep

    def drop(self):
        time.sleep(1)  # expect UNS101: declared_parameter > takes_store > Store.drop > time.sleep


def current(context) -> Store:
    return lifting.state["store"]


async def declared_result(context):
    current(context).save()


def pair(context) -> tuple[Store, int]:
    held = lifting.state
    return held["store"], held["size"]


async def declared_pair(context):
    store, size = pair(context)
    store.load()
    size.load()


def takes_store(store: Store):
    store.drop()


async def declared_parameter():
    takes_store(await lifting.find())


def takes_known(session: Store):
    session.get("http://x")  # expect UNS102: known_parameter > takes_known > requests.Session().get


async def known_parameter():
    takes_known(requests.Session())


async def from_a_thread():
    client = await asyncio.to_thread(boto3.client, "s3")
    client.put_object(Bucket="b", Key="k")  # expect UNS109: from_a_thread > boto3.client().put_object
    found = await asyncio.to_thread(client.get_object, Bucket="b", Key="k")
    return found["Body"].read()  # expect UNS109: from_a_thread > botocore.response.StreamingBody().read


async def read_in_the_thread():
    client = await asyncio.to_thread(boto3.client, "s3")
    rows = await asyncio.to_thread(list, client.get_paginator("list_objects_v2").paginate(Bucket="b"))
    return [row for row in rows]


def nothing_inside(empty: tuple[()], others: "list[()]") -> tuple[()]:
    return empty


async def takes_nothing():
    nothing_inside((), []).anything()


async def library_collection(found: pymongo.collection.Collection, typed: "pymongo.collection.Collection[dict]"):
    found.insert_one({})  # expect UNS103: library_collection > pymongo.collection.Collection().insert_one
    typed.delete_one({})  # expect UNS103: library_collection > pymongo.collection.Collection().delete_one


class Held:
    def drop(self):
        time.sleep(1)  # expect UNS101: language_collection > Held.drop > time.sleep


async def language_collection(held: Collection[Held]):
    for one in held:
        one.drop()
