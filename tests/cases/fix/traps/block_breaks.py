# reason: `break` or `continue` inside its `with` block
import asyncio
import sqlite3


async def main():
    while True:
        await asyncio.sleep(0)
        with sqlite3.connect("rows.db") as connection:
            if connection.execute("select 1").fetchone():
                break
