"""A plug-in that is called as the library it uses; its folder is no package."""

import requests


async def fetch(url):
    return requests.get(url)  # expect UNS102: fetch > requests.get
