"""Who may use the page: whoever has the address that was printed, once, and then a cookie.

The address holds a token that is good for one visit. It is exchanged at once for a cookie that
scripts cannot read and other sites cannot send, so that neither the history of a browser nor a
copied address opens the page again.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gptimage.service.http import ASGIApp, JsonError
from gptimage.service.http.asgi import Receive, Scope, Send


_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">{head}<title>gptimage studio</title>
<body style="font:1.1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem">
<h1 style="font-size:1.4rem">{title}</h1><p>{text}</p>"""
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)


class AddressToken:
    """The one-time token of the printed address, and the session it is exchanged for.

    Attributes:
        token: The token, for the address that is printed; None once it was used.
    """

    def __init__(self) -> None:
        self.token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)

    def exchange(self, given: str) -> str | None:
        """Return the session for the token, once; None for anything else."""
        # Compared in constant time, as bytes: text outside ASCII would raise.
        if self.token is None or not _same(given, self.token):
            return None
        self.token = None
        return self._session

    def opens(self, session: str) -> bool:
        """Return whether this is the session."""
        return _same(session, self._session)


class SessionMiddleware:
    """Lets nobody pass without the session, and no request that another site caused.

    Args:
        app: The page.
        address: The token and the session.
        cookie: The cookie's name; of each port another one, since cookies know no ports.
    """

    def __init__(self, app: ASGIApp, *, address: AddressToken, cookie: str) -> None:
        self._app = app
        self._address = address
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request of the page itself."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._judged(Request(scope))(scope, receive, send)

    def _judged(self, request: Request) -> ASGIApp:
        entry = request.url.path == "/"
        if entry and "token" in (query := parse_qs(request.url.query)):
            known = self._address.opens(request.cookies.get(self._cookie, ""))
            return EntryPage() if known else self._exchanged(query["token"][0])
        if not entry and (refusal := refuse_other_site(request)):
            return refusal
        if self._address.opens(request.cookies.get(self._cookie, "")):
            return self._app
        if entry:
            return NoticePage(
                401,
                "This studio needs its address",
                "Open the address that <code>gptimage studio</code> printed in the terminal. "
                "It works once; stop the studio and start it again for a new one. Images and "
                "jobs are saved either way.",
            )
        return JsonError(401, "no_session", "the studio was restarted: open its new address")

    def _exchanged(self, token: str) -> ASGIApp:
        session = self._address.exchange(token)
        if session is None:
            return NoticePage(
                403,
                "This address was used already",
                "It opens the studio once. A tab that is open goes on working; stop the studio "
                "and start it again for a new address.",
            )
        response = EntryPage()
        response.set_cookie(self._cookie, session, httponly=True, samesite="strict", path="/")
        return response


def refuse_other_site(request: Request) -> Response | None:
    """Return what answers a request that a page of another site caused, or None."""
    # Another server of this machine is "same-site" to us, as sites know no ports: its pages could
    # send the cookie along. Browsers say where a request comes from, and scripts cannot change
    # that (Fetch Metadata).
    if request.headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return None
    return JsonError(403, "other_site", "only the studio's own page may ask for this")


class NoticePage(HTMLResponse):
    """A page of a heading and a few words.

    Args:
        status: The HTTP status.
        title: Its heading.
        text: HTML; never anything of a request.
        head: HTML of its head.
    """

    def __init__(self, status: int, title: str, text: str, *, head: str = "") -> None:
        headers = {
            "cache-control": "no-store",
            "content-security-policy": _POLICY,
            # With none at all, browsers also hide the origin of a form, and it would be refused.
            "referrer-policy": "same-origin",
        }
        super().__init__(_PAGE.format(title=title, text=text, head=head), status, headers)


class EntryPage(NoticePage):
    """A page that opens the studio by itself.

    No redirect: a strict cookie is not sent along a redirect that began elsewhere, as in a mail.
    """

    def __init__(self) -> None:
        super().__init__(
            200,
            "Opening the studio",
            'If nothing happens, <a href="./">open it here</a>.',
            head='<meta http-equiv="refresh" content="0;url=./">',
        )


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
