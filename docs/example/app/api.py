"""A small shop: one endpoint renders an invoice."""

from fastapi import FastAPI

from app.billing import build_pdf

app = FastAPI()


@app.get("/invoices/latest")
async def latest_invoice() -> dict[str, int]:
    return {"pages": build_pdf("latest")}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
