from __future__ import annotations

from typing import TYPE_CHECKING

import app.clients as clients
from app import api
from app.clients import shared

if TYPE_CHECKING:
    from app.clients import AsyncClient, Client


async def relative():
    shared.fetch()
    shared.build()


async def reexported():
    api.Client().fetch()


async def local_import():
    from .clients import shared as late

    late.fetch()


async def string_annotation(client: "Client", other: "AsyncClient"):
    client.fetch()
    await other.fetch()


async def module_only():
    clients.Client()
