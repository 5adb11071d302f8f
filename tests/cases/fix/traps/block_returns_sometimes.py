# reason: its `with` block returns on some paths only
import asyncio
import sqlite3


async def main():
    await asyncio.sleep(0)
    with sqlite3.connect("rows.db") as connection:
        row = connection.execute("select 1").fetchone()
        if row:
            return row
    return None
