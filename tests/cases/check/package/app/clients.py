from __future__ import annotations

import requests


class Client:
    def fetch(self):
        return requests.get("http://x")  # expect UNS102: relative > Client.fetch > requests.get; reexported > Client.fetch > requests.get; local_import > Client.fetch > requests.get; string_annotation > Client.fetch > requests.get

    def build(self):
        return requests.Request("GET", "http://x")


class AsyncClient:
    async def fetch(self):
        return None


shared = Client()
