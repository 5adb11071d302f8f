# reason: CPU work that holds the GIL
import bs4
from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/")
async def index(request: Request):
    page = bs4.BeautifulSoup(await request.body(), "html.parser")
    return str(page.title)
