"""The studio under ``/studio``: a page for people behind the server's authentication.

A browser cannot show a bearer token by itself. The sign-in page takes it once, and a cookie that
scripts cannot read stands for it: `SignInMiddleware` puts the token back on every request of the
page, so that audience, scopes, expiry, callers and tenants are checked as for any other client.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.to_thread import run_sync
from attrs import evolve, frozen
from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

import gptimage
from gptimage.service import LocalRunner, RunnerError, current_caller
from gptimage.service.http import UNCOUNTED, address_of
from gptimage.studio import (
    EntryPage,
    MountedStudio,
    NoticePage,
    Studio,
    StudioWork,
    job_folder,
    make_folders,
)
from gptimage.workers import SqliteJobStore
from gptimage_mcp.auth import Auth
from gptimage_mcp.jobs.engine import Tenant, open_budget, open_client
from gptimage_mcp.resources import images_changed


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gptimage.service import Tell
    from gptimage_mcp.app import App

PATH: Final = "/studio"
_READING: Final = (f"{PATH}/api/estimate", f"{PATH}/api/render")
"""What the form asks while somebody types: nothing is begun."""

_SESSIONS: Final = 1_000
_OPENED: Final = 64
"""Callers whose studio stays open when nobody uses it."""

_WAIT: Final = 60.0
"""Seconds that paid requests have when the server is stopped, as those of tools."""

_FORM: Final = (
    "Enter the token with which you may use this server. It stays in the server's memory, and "
    'your browser gets a cookie in its place.<form method="post" action="session"><p><label>Token '
    '<input name="token" type="password" required autofocus autocomplete="current-password" '
    'style="font:inherit;width:100%;padding:.5rem"></label></p><p><button style="font:inherit;'
    'padding:.5rem 1rem">Sign in</button></p></form>'
)


class SignIns:
    """Bearer tokens of browsers that signed in, in memory; the ones used longest ago are forgotten.

    Args:
        auth: Checks the tokens.
        cookie: The name of the cookie that stands for a token.
    """

    def __init__(self, auth: Auth, *, cookie: str) -> None:
        self._auth = auth
        self._cookie = cookie
        self._tokens: OrderedDict[bytes, str] = OrderedDict()

    def find(self, request: HTTPConnection) -> str | None:
        """Return the token for which the cookie of a request stands."""
        key = self._key(request)
        if key in self._tokens:
            self._tokens.move_to_end(key)
        return self._tokens.get(key)

    async def change(self, request: Request) -> Response:
        """Take the token of a browser, or forget it."""
        place = urlsplit(address_of(PATH, absolute=True))
        options: dict[str, Any] = {"path": place.path, "httponly": True, "samesite": "strict"}
        options["secure"] = place.scheme == "https"
        if request.method == "DELETE":
            self._tokens.pop(self._key(request), None)
            response = Response(status_code=204)
            response.delete_cookie(self._cookie, **options)
            return response
        fields = parse_qs((await request.body()).decode(errors="replace"))
        token = fields.get("token", [""])[0].strip()
        try:
            access = await self._auth.verifier.verify_token(token)
        except AuthenticationError:
            return NoticePage(503, "Nobody can sign in now", "Try again in a minute.")
        if access is None or not set(self._auth.scopes) <= set(access.scopes):
            return NoticePage(403, "This token is not good here", _FORM)
        session = secrets.token_urlsafe(32)
        self._tokens[_digest(session)] = token
        if len(self._tokens) > _SESSIONS:
            self._tokens.popitem(last=False)
        response = EntryPage()
        response.set_cookie(self._cookie, session, **options)
        return response

    def _key(self, request: HTTPConnection) -> bytes:
        return _digest(request.cookies.get(self._cookie, ""))


def _digest(session: str) -> bytes:
    """Return the key of a session: of a hash, the time of a comparison tells nothing."""
    return hashlib.sha256(session.encode(errors="replace")).digest()


class SignInMiddleware:
    """Puts the token of a signed-in browser on its requests for the studio.

    What it only reads counts for no rate: one page of the gallery is hundreds of small images.

    Args:
        app: What is behind, authentication first.
        signins: Who signed in; None where nobody has to.
    """

    def __init__(self, app: ASGIApp, *, signins: SignIns | None) -> None:
        self._app = app
        self._signins = signins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request."""
        if scope["type"] == "http" and (scope["path"] + "/").startswith(f"{PATH}/"):
            token = None if self._signins is None else self._signins.find(HTTPConnection(scope))
            known = self._signins is None or token is not None
            reads = scope["method"] in ("GET", "HEAD") or scope["path"] in _READING
            scope = {**scope, UNCOUNTED: known and reads}
            if token is not None:
                given = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
                scope["headers"] = [*given, (b"authorization", f"Bearer {token}".encode())]
        await self._app(scope, receive, send)


@frozen
class _NoKey:
    """What draws on a server without a key: nothing."""

    async def run(self, id: str, call: object, tell: Tell) -> None:
        del id, call, tell
        raise RunnerError("this server has no key")

    def cancel(self, id: str) -> None:
        """Nothing is begun."""

    def leave(self) -> None:
        """Nothing is begun."""

    async def aclose(self) -> None:
        """Nothing is open."""


@frozen
class _Page:
    """One caller's page, as an application below `PATH`.

    Attributes:
        studio: The page.
        contexts: What is closed with it.
    """

    studio: MountedStudio
    contexts: AsyncExitStack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.studio({**scope, "root_path": PATH}, receive, send)


class Studios:
    """The studio of each caller, or the one of all where callers share everything.

    Args:
        app: The server's.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._pages: OrderedDict[str | None, _Page] = OrderedDict()
        self._lock = anyio.Lock()

    async def respond(self, request: Request) -> Response:
        """Serve a request for the page, its data or its images."""
        rest = request.path_params.get("rest")
        if rest is None:
            return RedirectResponse("studio/")
        signins: SignIns | None = getattr(request.app.state, "signins", None)
        if signins is not None:
            if rest == "session":
                return await signins.change(request)
            if not rest and current_caller() is None:
                # From a link on another site the strict cookie does not come: once more from here.
                if request.headers.get("sec-fetch-site") == "cross-site":
                    return EntryPage()
                return NoticePage(401, "Sign in to the studio", _FORM)
        return cast("Response", await self._page(signs_in=signins is not None))

    async def _page(self, *, signs_in: bool) -> _Page:
        name = None if self._app.tenants is None else current_caller()
        templates = await self._app.templates.now()
        async with self._lock:
            if name not in self._pages:
                self._pages[name] = await self._opened(templates, signs_in=signs_in)
                await self._close_idle()
            self._pages.move_to_end(name)
            return self._pages[name]

    async def _opened(self, templates: gptimage.PromptTemplates, *, signs_in: bool) -> _Page:
        contexts = AsyncExitStack()
        opened = await run_sync(self._open, templates, contexts.push_async_callback)
        studio = evolve(opened, can_sign_out=signs_in)
        contexts.callback(studio.estimator.close)
        page = await contexts.enter_async_context(MountedStudio(studio, wait=_WAIT))
        return _Page(page, contexts)

    def _open(self, templates: gptimage.PromptTemplates, at_end: Callable[..., object]) -> Studio:
        """Open the studio of the current caller over what the tools have."""
        app, settings, tenant = self._app, self._app.settings, self._app.current
        folder = job_folder(tenant.store, sandbox=settings.sandbox, state=settings.ledger.parent)
        make_folders(folder)
        thumbnails = folder / "thumbnails"
        thumbnails.mkdir(exist_ok=True, mode=0o700)
        job_store = SqliteJobStore(folder / "jobs.sqlite")
        assert tenant.ledger is not None  # noqa: S101  # only a client of the caller's own has none
        chosen = {"provider": settings.provider, "model": settings.model}
        service: Any = {name: value for name, value in chosen.items() if value is not None}
        work = _work(app, tenant, job_store)
        at_end(work.aclose)
        return Studio(
            runner=lambda: LocalRunner(work),
            sandbox=settings.sandbox,
            has_key=isinstance(work, StudioWork),
            provider=settings.provider,
            model=settings.model,
            limits=settings.limits,
            max_images=settings.max_images,
            may_delete=settings.allow_delete,
            estimator=gptimage.ImageClient.sandbox(
                store=tenant.store, templates=templates, **service
            ),
            store=tenant.store,
            ledger=tenant.ledger,
            cache=tenant.cache,
            budget=open_budget(settings, tenant.ledger),
            job_store=job_store,
            workers=None,
            templates=templates,
            folder=folder,
            thumbnails=thumbnails,
            changed=lambda ids: images_changed(app.subscriptions, *ids),
        )

    async def _close_idle(self) -> None:
        for name, page in [*self._pages.items()][: -_OPENED or None]:
            if page.studio.is_idle:
                del self._pages[name]
                await page.contexts.aclose()

    async def aclose(self) -> None:
        """Finish what was sent, and close every page."""
        for page in self._pages.values():
            await page.contexts.aclose()
        self._pages.clear()


def _work(app: App, tenant: Tenant, job_store: SqliteJobStore) -> StudioWork | _NoKey:
    """Return what draws, in this process: with the counters and the speed of all its calls."""
    assert tenant.ledger is not None  # noqa: S101  # see above
    client = open_client(
        app.settings,
        tenant.store,
        tenant.cache,
        tenant.ledger,
        app.metrics,
        app.limiter,
        kind=gptimage.ImageClient,
    )
    return _NoKey() if client is None else StudioWork(client, job_store)
