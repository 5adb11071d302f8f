# reason: CPU work that holds the GIL
import bs4
from fastapi import FastAPI

app = FastAPI()


@app.post("/")
async def index(page: str):
    return str(bs4.BeautifulSoup(page, "html.parser").title)
