"""Invoices as PDF, rendered by a program of its own."""

import subprocess

RENDER = ["sleep", "2"]  # stands for wkhtmltopdf


def build_pdf(invoice: str) -> int:
    render(invoice)
    return 1


def render(invoice: str) -> None:
    subprocess.run(RENDER, check=True)
