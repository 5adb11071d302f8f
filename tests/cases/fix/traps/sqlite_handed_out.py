# reason: a sqlite3 connection may be used in the thread that made it only
import asyncio
import sqlite3


def connected():
    connection = sqlite3.connect(":memory:")
    return connection


async def main():
    await asyncio.sleep(0)
    connection = connected()
    connection.close()
