# reason: a sqlite3 connection may be used in the thread that made it only
import asyncio
import sqlite3

connection = sqlite3.connect(":memory:")


def count():
    return connection.execute("select 1").fetchone()


async def main():
    await asyncio.sleep(0)
    return count()
