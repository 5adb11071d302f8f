# reason: `row` is set on some paths of its `with` block only
import asyncio
import sqlite3


async def main(wanted):
    await asyncio.sleep(0)
    row = None
    with sqlite3.connect("rows.db") as connection:
        if wanted:
            row = connection.execute("select 1").fetchone()
    return row
