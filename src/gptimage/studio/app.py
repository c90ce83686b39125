"""The page as an ASGI application: its files, its requests, and what stands in front of both.

A request meets, in this order: the allowlist of hosts and origins, the session, the limit on
bodies, and the route. The page is files of this package: no build step, nothing from elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final, Self, cast

import anyio
from anyio.to_thread import run_sync
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gptimage.errors import (
    GptImageError,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    TemplateError,
)
from gptimage.service.http import (
    Allowlist,
    ASGIApp,
    BodyLimitMiddleware,
    HostOriginMiddleware,
    JsonError,
    image_response,
)
from gptimage.service.http.asgi import Receive, Scope, Send
from gptimage.service.http.events import HEARTBEAT
from gptimage.studio import batches, gallery, money
from gptimage.studio.catalogue import catalogue
from gptimage.studio.context import Studio
from gptimage.studio.jobs import Jobs
from gptimage.studio.requests import JobRequest, read_job
from gptimage.studio.session import AddressToken, SessionMiddleware, refuse_other_site
from gptimage.studio.work import AltTextCall
from gptimage.wording import for_command_line
from gptimage.workers import discard, retry


_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Only our own files run, and no text can become markup, wherever it comes from."""

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_MAX_JSON: Final = 1_000_000
_MAX_UPLOAD: Final = 52_428_800
"""Bytes of an image that is dropped on the page, as the service takes them."""

_FOR_GOOD: Final = "private, max-age=31536000, immutable"
_GOODBYE: Final = 2.0
"""Seconds a stream of events may go on once the server is to stop."""


def create_app(studio: Studio, address: AddressToken, *, cookie: str) -> ASGIApp:
    """Return the page as an ASGI application.

    Args:
        studio: What it works with; it stays yours to close.
        address: Its one-time token and its session.
        cookie: The cookie's name.
    """
    return build_app(studio, address, cookie=cookie)


class MountedStudio:
    """The page below another server, which lets only those pass who may use it.

    That server also checks hosts, origins and the size of bodies. Use it as an asynchronous
    context; its path ends with a slash, and ``root_path`` has what stands before that.

    Args:
        studio: What it works with; it stays yours to close.
        wait: Seconds that what was sent has at the end, where this process draws.
    """

    def __init__(self, studio: Studio, *, wait: float = 0) -> None:
        self._app = build_app(studio, None, wait=wait)
        self._contexts = contextlib.AsyncExitStack()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is drawn and no tab follows the jobs."""
        return cast("Jobs", self._app.state.jobs).is_idle

    async def __aenter__(self) -> Self:
        """Begin to follow the jobs."""
        await self._contexts.enter_async_context(self._app.router.lifespan_context(self._app))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for what was sent, and let go."""
        await self._contexts.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that no other page caused."""
        entry = scope["path"] == scope["root_path"] + "/"
        refusal = None if entry else refuse_other_site(Request(scope))
        await (refusal or self._app)(scope, receive, send)


def build_app(
    studio: Studio, address: AddressToken | None, *, cookie: str = "", wait: float = 0
) -> Starlette:
    """Return the page of `create_app` and `MountedStudio`; ``state.jobs`` are its running jobs."""
    pages = _Pages(studio)
    guards: list[Middleware] = []
    if address is not None:
        uploads = {("POST", "/api/uploads"): _MAX_UPLOAD}
        guards = [
            Middleware(HostOriginMiddleware, allowlist=Allowlist.of(())),
            Middleware(SessionMiddleware, address=address, cookie=cookie),
            Middleware(BodyLimitMiddleware, most=_MAX_JSON, routes=uploads),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        pages.jobs = Jobs(studio)
        app.state.jobs = pages.jobs
        yield
        await pages.jobs.aclose(wait)

    return Starlette(
        routes=[*_files(), *pages.routes()],
        lifespan=lifespan,
        middleware=guards,
        exception_handlers={
            GptImageError: cast("Any", _refused),
            OSError: cast("Any", _refused),
        },
    )


def _files() -> list[Route]:
    """Return a route for each file of the page; nothing else of the disk can be asked for."""
    folder = resources.files("gptimage.studio").joinpath("static")
    routes: list[Route] = []
    for each in folder.iterdir():
        kind = _TYPES.get(Path(each.name).suffix)
        if kind is not None:
            path = "/" if each.name == "index.html" else f"/static/{each.name}"
            routes.append(Route(path, _file(each.read_bytes(), kind)))
    return routes


def _file(data: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": _POLICY,
        "cross-origin-opener-policy": "same-origin",
    }

    async def answer(request: Request) -> Response:
        return Response(data, media_type=kind, headers=headers)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    """Return an error as a sentence, with the field of the form that it is about."""
    status, text = 500, for_command_line(str(error)) or type(error).__name__
    if isinstance(error, ImageNotFoundError):
        status, text = 404, "the image is not in the store any more: it was deleted"
    elif isinstance(error, InvalidRequestError | TemplateError | ImageDecodeError):
        status = 400
    body = {"error": type(error).__name__, "error_description": text}
    field = getattr(error, "field", None)
    return JSONResponse({**body, "field": field}, status, {"cache-control": "no-store"})


def _no_key() -> Response:
    return JsonError(
        409,
        "no_key",
        "There is no key: set OPENAI_API_KEY and start the studio again, or try everything without "
        "one with `gptimage studio --sandbox`. Nothing was sent.",
    )


def _json(content: object) -> JSONResponse:
    return JSONResponse(content, headers={"cache-control": "no-store"})


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        InvalidRequestError: It is none.
    """
    try:
        found: object = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequestError("the body must be a JSON object", field="body")
    return cast("dict[str, Any]", found)


class _Pages:
    """The requests of the page.

    Args:
        studio: What they work with.
    """

    jobs: Jobs

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._drawing = anyio.CapacityLimiter(2)  # thumbnails hold an image's pixels each

    def routes(self) -> list[Route]:
        """Return every route."""
        return [
            Route("/api/catalogue", self.catalogue),
            Route("/api/status", self.status),
            Route("/api/events", self.events),
            Route("/api/estimate", self.estimate, methods=["POST"]),
            Route("/api/render", self.render, methods=["POST"]),
            Route("/api/jobs", self.list_jobs),
            Route("/api/jobs", self.submit, methods=["POST"]),
            Route("/api/jobs/{id}", self.job),
            Route("/api/jobs/{id}/{action}", self.decide, methods=["POST"]),
            Route("/api/batches", self.list_batches),
            Route("/api/batches", self.submit_batch, methods=["POST"]),
            Route("/api/batches/{id}/{action}", self.decide_batch, methods=["POST"]),
            Route("/api/workers", self.list_workers),
            Route("/api/workers/{id}/{action}", self.decide_worker, methods=["POST"]),
            Route("/api/uploads", self.upload, methods=["POST"]),
            Route("/uploads/{digest}", self.uploaded),
            Route("/api/images", self.list_images),
            Route("/api/images/{id}", self.describe),
            Route("/api/images/{id}", self.change, methods=["PATCH"]),
            Route("/api/images/{id}", self.delete, methods=["DELETE"]),
            Route("/api/images/{id}/alt", self.write_alt_text, methods=["POST"]),
            Route("/api/export", self.export, methods=["POST"]),
            Route("/images/{id}", self.image),
            Route("/thumbnails/{pixels:int}/{id}", self.thumbnail),
            Route("/api/money", self.money),
            Route("/api/money/{call_id}", self.settle, methods=["POST"]),
        ]

    async def catalogue(self, _: Request) -> Response:
        """Return models, sizes and templates."""
        return _json(await run_sync(catalogue, self._studio))

    async def status(self, _: Request) -> Response:
        """Return what the head of the page shows."""
        stats = await run_sync(self._studio.store.stats)
        return _json(
            {
                "sandbox": self._studio.sandbox,
                "has_key": self._studio.has_key,
                "may_delete": self._studio.may_delete,
                "can_sign_out": self._studio.can_sign_out,
                "images": stats.images,
                "models": sorted(stats.by_model),
                "formats": sorted(stats.by_format),
                "left_usd": await run_sync(money.left, self._studio),
            }
        )

    async def events(self, _: Request) -> Response:
        """Follow every job."""
        return EventSourceResponse(  # pyright: ignore[reportUnknownMemberType]  # it takes any dictionary
            self.jobs.events(),
            headers={"cache-control": "no-store, no-transform"},
            ping=HEARTBEAT,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
            sep="\n",
            shutdown_grace_period=_GOODBYE,
        )

    async def estimate(self, request: Request) -> Response:
        """Return what a request may cost, or why it would be refused; sends nothing."""
        try:
            asked = read_job(self._studio, await _body(request), id="estimate")
            return _json(await run_sync(self._estimated, asked))
        except GptImageError as error:  # while somebody still types, that is no failure
            text, field = for_command_line(str(error)), getattr(error, "field", None)
            return _json({"refused": text, "field": field})

    def _estimated(self, asked: JobRequest) -> dict[str, Any]:
        client, options = self._studio.estimator, asked.options()
        found = client.estimate(asked.prompt, asked.images, **options)
        most = client.max_cost(asked.prompt, asked.images, **options)
        return {
            "estimate_usd": None if found is None else str(found.usd),
            "most_usd": None if most is None else str(most),
            "notes": [] if found is None else list(found.notes),
        }

    async def render(self, request: Request) -> Response:
        """Return the prompt of a template, and the parameters it recommends."""
        body = await _body(request)
        template = self._studio.templates[str(body.get("template"))]
        arguments: Any = body.get("arguments")
        prompt = template.render(arguments or {})
        if prompt.images:
            raise InvalidRequestError(
                "this template has reference images, which the page cannot send: use "
                f"gptimage generate --template {template.name}",
                field="template",
            )
        names = ("size", "quality", "background", "format")
        recommended = {name: getattr(prompt, name) for name in names if getattr(prompt, name)}
        return _json({"prompt": prompt.text, "recommended": recommended})

    async def list_jobs(self, _: Request) -> Response:
        """Return the jobs, newest first."""
        return _json({"jobs": await self.jobs.list_jobs()})

    async def submit(self, request: Request) -> Response:
        """Begin a job; the same one again is the same job."""
        if not self._studio.has_key:
            return _no_key()
        asked = read_job(self._studio, await _body(request))
        await run_sync(self._estimated, asked)  # refuses what cannot work while the form is open
        return _json(await self.jobs.submit(asked.job, asked.previews))

    async def job(self, request: Request) -> Response:
        """Return one job."""
        return _json(await self.jobs.get(request.path_params["id"]))

    async def decide(self, request: Request) -> Response:
        """Cancel, resume, retry or discard a job."""
        actions = {
            "cancel": self.jobs.cancel,
            "resume": self.jobs.begin_again,
            "retry": self.jobs.retry,
            "discard": self.jobs.discard,
        }
        action = actions.get(request.path_params["action"])
        if action is None:
            return JsonError(404, "not_found", f"a job can be {', '.join(actions)}")
        return _json(await action(request.path_params["id"]))

    async def list_batches(self, _: Request) -> Response:
        """Return the batches at half price."""
        return _json({"batches": await run_sync(batches.list_batches, self._studio.batches)})

    async def submit_batch(self, request: Request) -> Response:
        """Submit a batch; the same one again goes on with it."""
        if not self._studio.has_key:
            return _no_key()
        body = await _body(request)
        given: Any = body.get("requests")
        requests = [read_job(self._studio, each, id="batch") for each in given or ()]
        for asked in requests:
            await run_sync(self._estimated, asked)
        plain = [dict(asked.job.request) for asked in requests]
        add = partial(batches.add_batch, self._studio.batches, str(body.get("id")), plain)
        call = batches.BatchCall(action="submit", report=await run_sync(add))
        return _json(await self.jobs.call(call))

    async def decide_batch(self, request: Request) -> Response:
        """Go on submitting a batch, ask how far it is, save its images, or cancel the rest."""
        action = request.path_params["action"]
        if action not in batches.ACTIONS:
            return JsonError(404, "not_found", f"with a batch one can {', '.join(batches.ACTIONS)}")
        report = batches.find_batch(self._studio.batches, request.path_params["id"])
        found = await self.jobs.call(batches.BatchCall(action=action, report=report))
        if action == "save":
            await self._studio.changed(found["images"])
        return _json(found)

    async def list_workers(self, _: Request) -> Response:
        """Return the jobs of workers that are not settled."""
        store = self._studio.workers
        found = [] if store is None else await run_sync(lambda: [*store.records()])
        return _json({"jobs": [self.jobs.document(record) for record in found]})

    async def decide_worker(self, request: Request) -> Response:
        """Let a worker's job be sent again when it is delivered next, or give it up."""
        store, actions = self._studio.workers, {"retry": retry, "discard": discard}
        action = actions.get(request.path_params["action"])
        if store is None or action is None:
            return JsonError(404, "not_found", "a worker's job can be retried or discarded")
        record = await run_sync(action, store, request.path_params["id"])
        return _json(self.jobs.document(record))

    async def upload(self, request: Request) -> Response:
        """Save an image that was dropped on the page."""
        data = await request.body()
        return _json(await run_sync(gallery.save_upload, self._studio.uploads, data))

    async def uploaded(self, request: Request) -> Response:
        """Return an image that was dropped on the page."""
        digest = request.path_params["digest"]
        path = await run_sync(gallery.find_upload, self._studio.uploads, digest)
        return FileResponse(path, headers=_IMAGE)

    async def list_images(self, request: Request) -> Response:
        """Return one page of the gallery."""
        query = dict(request.query_params)
        return _json(await run_sync(gallery.list_images, self._studio.store, query))

    async def describe(self, request: Request) -> Response:
        """Return everything about an image."""
        id = request.path_params["id"]
        return _json(await run_sync(gallery.describe, self._studio.store, id))

    async def change(self, request: Request) -> Response:
        """Pin an image, or change its tags."""
        wanted, id = await _body(request), request.path_params["id"]
        found = await run_sync(gallery.change, self._studio.store, id, wanted)
        await self._studio.changed([id])
        return _json(found)

    async def delete(self, request: Request) -> Response:
        """Delete an image."""
        if not self._studio.may_delete:
            return JsonError(403, "delete_is_off", "Images cannot be deleted on this server.")
        await run_sync(self._studio.store.delete, id := request.path_params["id"])
        await self._studio.changed([id])
        return Response(status_code=204)

    async def write_alt_text(self, request: Request) -> Response:
        """Have the chat model write an image's alt text, which is a paid call."""
        if not self._studio.has_key:
            return _no_key()
        id = request.path_params["id"]
        await run_sync(self._studio.store.get, id)  # no id would be a file of this machine
        found = await self.jobs.call(AltTextCall(image=id))
        await self._studio.changed([id])
        return _json(found)

    async def export(self, request: Request) -> Response:
        """Return images in one file."""
        body = await _body(request)
        ids = body.get("ids")
        names = [str(each) for each in cast("list[object]", ids)] if isinstance(ids, list) else []
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it was sent
        try:
            write = partial(gallery.export, self._studio.store, names, str(body.get("kind")), file)
            name = await run_sync(write)
        except BaseException:
            file.close()
            raise
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
            "content-length": str(file.tell()),
        }
        kind = "image/png" if name.endswith(".png") else "application/zip"
        return StreamingResponse(_pieces(file), media_type=kind, headers=headers)

    async def image(self, request: Request) -> Response:
        """Return an image, byte for byte as it was saved."""
        return cast("Response", await image_response(request.scope, self._studio.store))

    async def thumbnail(self, request: Request) -> Response:
        """Return a small version of an image."""
        pixels, id = request.path_params["pixels"], request.path_params["id"]
        if pixels not in gallery.THUMBNAILS:
            return JsonError(404, "not_found", f"there are {gallery.THUMBNAILS} pixels")
        make = partial(gallery.thumbnail, self._studio.store, self._studio.thumbnails, id, pixels)
        path = await run_sync(make, limiter=self._drawing)
        if path is None:
            return cast("Response", await image_response(request.scope, self._studio.store))
        data = await run_sync(path.read_bytes)
        kind = "image/jpeg" if data[:2] == b"\xff\xd8" else "image/webp"
        return Response(data, media_type=kind, headers=_IMAGE)

    async def money(self, _: Request) -> Response:
        """Return what was spent."""
        return _json(await run_sync(money.overview, self._studio))

    async def settle(self, request: Request) -> Response:
        """Enter what a call of unknown outcome cost."""
        body, call_id = await _body(request), request.path_params["call_id"]
        await run_sync(money.settle, self._studio, call_id, body.get("cost_usd"))
        return Response(status_code=204)


_IMAGE: Final = {
    "cache-control": _FOR_GOOD,
    # An svg can hold scripts: opened as a page of its own it may do nothing.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        await run_sync(file.seek, 0)
        while piece := await run_sync(file.read, 256 * 1024):
            yield piece
