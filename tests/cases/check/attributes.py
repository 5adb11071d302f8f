"""What `self.x` is, from any assignment; properties; Optional attributes set later."""

import time
from typing import Optional

import boto3
import httpx
import requests


class Service:
    retries: int = 3

    def __init__(self, http: requests.Session, name):
        self.http = http
        self.name = name
        self.s3 = None
        self.client: Optional[httpx.AsyncClient] = None

    def initialize(self):
        self.s3 = boto3.client("s3")
        self.client = httpx.AsyncClient()

    async def use(self):
        self.http.get("http://x")  # expect UNS102: Service.use > requests.Session().get
        self.s3.put_object(Bucket="b", Key="k", Body=b"")  # expect UNS109: Service.use > boto3.client().put_object
        await self.client.get("http://x")
        self.name.get("a")

    @property
    def slow(self):
        time.sleep(1)  # expect UNS101: Service.read > Service.slow > time.sleep
        return 1

    @property
    def quick(self):
        return self.retries

    async def read(self):
        return self.slow + self.quick


class Owner:
    def __init__(self, service):
        self.service = service

    async def go(self):
        return self.service.ask()


class Asker:
    def ask(self):
        return requests.get("http://x")  # expect UNS102: Owner.go > Asker.ask > requests.get


owner = Owner(Asker())
