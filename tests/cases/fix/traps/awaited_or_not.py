# reason: what it gives back is awaited
import subprocess


async def done():
    return None


class Connection:
    def close(self):
        subprocess.run(["true"])
        return done()


async def main():
    connection = Connection()
    await connection.close()
