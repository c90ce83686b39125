"""A WordPress 7.1 as its REST API behaves, in memory.

What it accepts, refuses and gets wrong was seen on a real WordPress 7.1.4: bad ids answered with
200, "-1" behind names that are taken, a 500 for a file that is none, pages beyond the end, 401
with the code of the route.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from typing import Any

import httpx2
from PIL import Image as PillowImage

from tests.examples.stand_in import RefusalError, StandIn


PASSWORD = "abcd efgh ijkl"
_TYPES = {
    "JPEG": ("image/jpeg", "jpg"),
    "PNG": ("image/png", "png"),
    "WEBP": ("image/webp", "webp"),
}


def refused(status: int, code: str, message: str = "No.") -> RefusalError:
    """Return a response that is an error."""
    return RefusalError(status, {"code": code, "message": message, "data": {"status": status}})


class WordPressSite(StandIn):
    """The site.

    Attributes:
        posts: The posts by id.
        media: What was uploaded, by id.
        max_upload: The largest body PHP takes, in bytes.
        pretty: Whether it has "pretty permalinks", and with them ``/wp-json/``.
    """

    def __init__(self, *titles: str, max_upload: int = 8_000_000, pretty: bool = True) -> None:
        super().__init__()
        self.posts: dict[int, dict[str, Any]] = {
            number: {
                "id": number,
                "title": {"rendered": title},
                "content": {"raw": "<p>Text</p>"},
                "featured_media": 0,
            }
            for number, title in enumerate(titles, 1)
        }
        self.media: dict[int, dict[str, Any]] = {}
        self.max_upload = max_upload
        self.pretty = pretty

    def me(self, password: str = PASSWORD) -> httpx2.Client:
        """Return a client of the user `me`."""
        return self.client(base_url="https://site.example", auth=("me", password))

    def line(self, request: httpx2.Request) -> str:
        """Return a request without what all paths begin with."""
        path = request.url.params.get("rest_route") or request.url.path
        return f"{request.method} {path.removeprefix('/wp-json').removeprefix('/wp/v2/')}"

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        query = dict(request.url.params)
        path = request.url.path
        if route := query.pop("rest_route", None):
            path = f"/wp-json{route}"
        elif not self.pretty:
            return httpx2.Response(404, text="<html>Not found</html>")
        if path == "/wp-json/":
            return httpx2.Response(200, json={"namespaces": ["wp/v2"]})
        if path == "/wp-json/wp/v2/users/me":
            if not self._known(request):
                raise refused(401, "rest_not_logged_in")
            return httpx2.Response(200, json={"id": 1})
        match = re.fullmatch(r"/wp-json/wp/v2/(posts|media)(?:/(\d+))?", path)
        if match is None:
            raise refused(404, "rest_no_route")
        kind, number = match[1], match[2] and int(match[2])
        known = self._known(request)
        if request.method == "GET":
            if kind == "media" and number is None:
                found = [each for each in self.media.values() if each["slug"] == query.get("slug")]
                return httpx2.Response(200, json=found)
            if number is None:
                return self._page(query, known=known)
            if query.get("context") == "edit" and not known:
                raise refused(401, "rest_forbidden_context")
            return httpx2.Response(200, json=self._one(kind, number))
        if not known:
            raise refused(401, "rest_cannot_create" if kind == "media" else "rest_cannot_edit")
        if kind == "media" and number is None:
            return self._upload(request, query)
        post = self._one("posts", number or 0)
        return self._edit(post, json.loads(request.content))

    def _known(self, request: httpx2.Request) -> bool:
        user, _, password = (
            base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
            .decode()
            .partition(":")
        )
        return (user, password.replace(" ", "")) == ("me", PASSWORD.replace(" ", ""))

    def _one(self, kind: str, number: int) -> dict[str, Any]:
        found = (self.posts if kind == "posts" else self.media).get(number)
        if found is None:
            raise refused(404, "rest_post_invalid_id", "Invalid post ID.")
        return found

    def _page(self, query: dict[str, str], *, known: bool) -> httpx2.Response:
        if "draft" in query.get("status", "") and not known:
            raise refused(400, "rest_invalid_param", "Invalid parameter(s): status")
        size, page = int(query.get("per_page", 10)), int(query.get("page", 1))
        if not 1 <= size <= 100:
            raise refused(400, "rest_invalid_param", "Invalid parameter(s): per_page")
        posts = sorted(self.posts.values(), key=lambda post: post["id"])
        if query.get("order", "desc") == "desc":
            posts.reverse()
        pages = -(-len(posts) // size)
        if page > max(pages, 1):
            raise refused(400, "rest_post_invalid_page_number")
        return httpx2.Response(
            200,
            json=posts[(page - 1) * size : page * size],
            headers={"X-WP-Total": str(len(posts)), "X-WP-TotalPages": str(pages)},
        )

    def _edit(self, post: dict[str, Any], change: dict[str, Any]) -> httpx2.Response:
        for name, value in change.items():
            if name == "content":
                post["content"] = {"raw": value}
            elif name != "featured_media":
                raise AssertionError(f"the example sets {name}")
            elif type(value) is not int:
                raise refused(400, "rest_invalid_param")
            elif value in self.media or value == 0:  # another id is answered with 200
                post["featured_media"] = value
        return httpx2.Response(200, json=post)

    def _upload(self, request: httpx2.Request, query: dict[str, str]) -> httpx2.Response:
        data = request.content
        if len(data) > self.max_upload or not data:  # PHP drops what exceeds post_max_size
            raise refused(400, "rest_upload_no_data", "No data supplied.")
        if unknown := set(query) - {"slug", "title", "alt_text", "caption", "description", "post"}:
            raise refused(400, "rest_invalid_param", f"Invalid parameter(s): {unknown}")
        if "content-disposition" not in request.headers:
            raise refused(400, "rest_upload_no_content_disposition")
        name = re.fullmatch(
            r'attachment; filename="([\w.-]+)"', request.headers["content-disposition"]
        )
        if name is None:
            raise refused(400, "rest_upload_invalid_disposition")
        if (sent := request.headers.get("content-md5")) and sent != hashlib.md5(data).hexdigest():
            raise refused(412, "rest_upload_hash_mismatch")
        try:
            with PillowImage.open(io.BytesIO(data)) as image:
                media_type, extension = _TYPES[image.format or ""]
        except (OSError, KeyError):
            raise refused(500, "rest_upload_sideload_error", "Not allowed.") from None
        number = 100 + len(self.media)
        slug = query.get("slug", "")
        taken = {each["slug"] for each in self.media.values()}
        self.media[number] = {
            "id": number,
            "slug": f"{slug}-1" if slug in taken else slug,
            "alt_text": query.get("alt_text", ""),
            "caption": query.get("caption", ""),
            "mime_type": media_type,
            "bytes": len(data),
            "source_url": f"https://site.example/{name[1].rpartition('.')[0]}.{extension}",
        }
        return httpx2.Response(201, json=self.media[number])
