"""The experiments' own small FastAPI apps."""
