"""A web application with FastAPI: a form, previews while an image is drawn, a gallery, a budget.

``USERS=ann:secret,bob:other uvicorn fastapi_app:app`` serves it (`pip install 'gptimage[studio]'
fastapi`). Each user signs in, has a store of their own and a dollar a day. The browser names each
drawing: sent twice, or followed again after a break, it is the same drawing and paid for once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import define, field
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

import gptimage
from gptimage import AsyncImageClient, Budget, Completed, Ledger
from gptimage.store import Store


A_DAY = 1
"""What each user may spend, in USD."""

FOLDER = Path(os.environ.get("IMAGES", "users"))


class Wanted(BaseModel):
    """What the form sends; the id is the browser's."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    size: Literal["1024x1024", "1536x1024", "1024x1536"] = "1024x1024"
    quality: Literal["low", "medium", "high"] = "low"


@define(eq=False)
class Drawing:
    """A drawing under way, and all that happened to it, for whoever follows it."""

    previews: list[gptimage.Image] = field(factory=list[gptimage.Image])
    events: list[ServerSentEvent] = field(factory=list[ServerSentEvent])
    changed: asyncio.Condition = field(factory=asyncio.Condition)
    over: bool = False

    async def add(self, event: str, data: dict[str, Any], *, over: bool = False) -> None:
        """Tell those who follow it."""
        async with self.changed:
            number = str(len(self.events))
            self.events.append(ServerSentEvent(event=event, data=data, id=number))
            self.over = over
            self.changed.notify_all()


@define(eq=False)
class Account:
    """What belongs to a user."""

    store: Store
    budget: Budget
    client: AsyncImageClient
    drawings: dict[str, Drawing] = field(factory=dict[str, Drawing])

    @classmethod
    def open(cls, name: str) -> Account:
        """Open the store and the ledger of a user, whose name is one of ``USERS``."""
        store = Store(FOLDER / name / "images")
        budget = Budget(A_DAY, per="day", ledger=Ledger(FOLDER / name / "ledger.sqlite"))
        return cls(store, budget, AsyncImageClient(store=store, budget=budget))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open each user's account; at the end, finish the drawings that are being paid for."""
    users = [each.partition(":") for each in os.environ["USERS"].split(",")]
    app.state.passwords = {name: password for name, _, password in users}
    app.state.accounts = {name: Account.open(name) for name in app.state.passwords}
    app.state.tasks = set[asyncio.Task[None]]()
    yield
    await asyncio.gather(*app.state.tasks)
    for account in app.state.accounts.values():
        await account.client.aclose()


app = FastAPI(lifespan=lifespan)
basic = HTTPBasic()


def account_of(request: Request, given: Annotated[HTTPBasicCredentials, Depends(basic)]) -> Account:
    """Return the account of who signed in."""
    # Compared in constant time, also for a name nobody has.
    right = request.app.state.passwords.get(given.username, secrets.token_hex())
    if not secrets.compare_digest(given.password.encode(), right.encode()):
        raise HTTPException(401, "wrong name or password", {"www-authenticate": "Basic"})
    return request.app.state.accounts[given.username]


Own = Annotated[Account, Depends(account_of)]


def drawing_of(id: str, account: Own) -> Drawing:
    """Return a drawing of the user."""
    if id not in account.drawings:
        raise HTTPException(404, "no such drawing: if it was finished, it is in the gallery")
    return account.drawings[id]


Followed = Annotated[Drawing, Depends(drawing_of)]


@app.get("/")
async def page(account: Own) -> FileResponse:
    """Return the page."""
    return FileResponse(Path(__file__).with_name("page.html"))


@app.post("/drawings", status_code=202)
async def begin(request: Request, wanted: Wanted, account: Own) -> dict[str, str]:
    """Begin a drawing, unless it has begun: a form may be sent twice."""
    if wanted.id not in account.drawings:
        drawing = account.drawings[wanted.id] = Drawing()
        task = asyncio.create_task(draw(account, drawing, wanted))
        # A task that nothing refers to may be collected in the middle of its work.
        request.app.state.tasks.add(task)
        task.add_done_callback(request.app.state.tasks.discard)
    return {"events": f"/drawings/{wanted.id}/events"}


async def draw(account: Account, drawing: Drawing, wanted: Wanted) -> None:
    """Draw; it goes on when the page is closed, since it is paid for."""
    options: dict[str, Any] = {"size": wanted.size, "quality": wanted.quality}
    try:
        async for event in account.client.stream(wanted.prompt, partial_images=2, **options):
            if isinstance(event, Completed):
                (record,) = event.result.stored
                await drawing.add("done", described(record), over=True)
            else:
                drawing.previews.append(await asyncio.to_thread(event.image.thumbnail, 512))
                number = len(drawing.previews) - 1
                url = f"/drawings/{wanted.id}/previews/{number}"
                await drawing.add("preview", {"url": url})
    except gptimage.OutcomeUnknownError as error:
        text = f"It may have been paid for. Look at the gallery before you try again. {error}"
        await drawing.add("failed", {"message": text}, over=True)
    except (gptimage.GptImageError, OSError) as error:
        await drawing.add("failed", {"message": str(error)}, over=True)


@app.get("/drawings/{id}/events", response_class=EventSourceResponse)
async def follow(
    drawing: Followed, last_event_id: Annotated[int, Header()] = -1
) -> AsyncIterable[ServerSentEvent]:
    """Tell what happened and what happens; a browser that comes back goes on where it was."""
    number = last_event_id + 1
    while number < len(drawing.events) or not drawing.over:
        async with drawing.changed:
            while number >= len(drawing.events):
                await drawing.changed.wait()
        yield drawing.events[number]
        number += 1


@app.get("/drawings/{id}/previews/{number}")
async def preview(drawing: Followed, number: int) -> Response:
    """Return a preview: as text in an event it would be a third larger."""
    if not 0 <= number < len(drawing.previews):
        raise HTTPException(404, "no such preview")
    image = drawing.previews[number]
    return Response(image.data, media_type=image.mime_type)


@app.get("/images")
async def gallery(
    account: Own, text: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 24
) -> dict[str, Any]:
    """Return the newest images, or those with these words, and what is left of the budget."""
    if text.strip():
        found = await asyncio.to_thread(account.store.search, text, limit)
    else:
        found = await asyncio.to_thread(account.store.history, limit)
    left = await asyncio.to_thread(account.budget.remaining)
    return {"images": [described(each) for each in found], "left_usd": str(left)}


@app.get("/images/{id}")
async def image(id: str, account: Own, *, small: bool = False) -> Response:
    """Return an image, or a small version of it."""
    try:
        found = await asyncio.to_thread(account.store.open, id)
    except gptimage.ImageNotFoundError as error:
        raise HTTPException(404, "no such image") from error
    shown = await asyncio.to_thread(found.thumbnail, 256) if small else found
    return Response(shown.data, media_type=shown.mime_type)


def described(record: gptimage.Record) -> dict[str, Any]:
    """Return what the page shows of an image."""
    cost = None if record.cost is None else str(record.cost)
    prompt = str(record.request.get("prompt", ""))
    return {"id": record.id, "prompt": prompt, "cost": cost, "url": f"/images/{record.id}"}
