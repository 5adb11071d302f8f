"""The trivial app on which overhead is measured."""

from fastapi import FastAPI

import unstall

app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


watched = unstall.watch(app)
