# reason: its `with` block deletes a name
import os


async def main():
    value = 1
    with open(os.devnull) as file:
        file.read()
        del value
    return "fine"
