# reason: `total` is read in its `with` block before the block sets it
import asyncio
import sqlite3


async def main(total=0):
    await asyncio.sleep(0)
    with sqlite3.connect("rows.db") as connection:
        total += connection.execute("select 1").fetchone()[0]
    return total
