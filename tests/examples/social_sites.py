"""X, Instagram, Slack, Discord and Bluesky as their APIs behave, in memory.

What each accepts and refuses was read in its schema, its SDK or its documentation.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
from email.message import Message
from typing import Any, ClassVar
from urllib.parse import parse_qs

import httpx2
from PIL import Image as PillowImage

from tests.examples.stand_in import RefusalError, StandIn, parts


def ok(body: Any, status: int = 200) -> httpx2.Response:
    """Return what went well."""
    return httpx2.Response(status, json=body)


def image_of(data: bytes, most: int, *formats: str) -> PillowImage.Image:
    """Return an image that a service takes.

    Raises:
        ValueError: It has too many bytes, or another format.
    """
    with PillowImage.open(io.BytesIO(data)) as image:
        if len(data) > most or image.format not in formats:
            raise ValueError(f"{len(data)} bytes of {image.format}")
        return image


def form(request: httpx2.Request) -> dict[str, str]:
    """Return the fields of a form."""
    return {name: values[0] for name, values in parse_qs(request.content.decode()).items()}


class Site(StandIn):
    """One service.

    Attributes:
        environment: The credentials it accepts.
        publishing: How the line of the request begins that makes a post visible.
        steps: How the lines of all requests begin that change something, in order.
        posts: What was posted, each with text, alt text and whether it is said to be made with AI.
    """

    environment: ClassVar[dict[str, str]]
    publishing: ClassVar[str]
    steps: ClassVar[tuple[str, ...]]
    refusal: ClassVar[httpx2.Response]
    expired: ClassVar[httpx2.Response]

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[dict[str, Any]] = []


class XSite(Site):
    """X: closed JSON objects, a refresh token that changes, no text twice."""

    environment: ClassVar[dict[str, str]] = {
        "X_ACCESS_TOKEN": "a0",
        "X_REFRESH_TOKEN": "r0",
        "X_CLIENT_ID": "app",
    }
    publishing = "POST /2/tweets"
    steps = ("POST /2/media/upload", "POST /2/media/metadata", publishing)
    refusal = httpx2.Response(403, json={"title": "Forbidden", "detail": "duplicate content"})
    expired = httpx2.Response(401, json={"title": "Unauthorized", "status": 401})

    def __init__(self) -> None:
        super().__init__()
        self.access, self.refresh = "a0", "r0"
        self.media: dict[str, str] = {}

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        path = request.url.path
        if path == "/2/oauth2/token":
            sent = form(request)
            if sent != {
                "grant_type": "refresh_token",
                "refresh_token": self.refresh,
                "client_id": "app",
            }:
                raise RefusalError(400, {"error": "invalid_request"})
            number = len(self.requests)
            self.access, self.refresh = f"a{number}", f"r{number}"
            return ok({"access_token": self.access, "refresh_token": self.refresh})
        if request.headers["authorization"] != f"Bearer {self.access}":
            raise RefusalError(401, {"title": "Unauthorized", "status": 401})
        if path == "/2/users/me":
            return ok({"data": {"id": "1", "username": "me"}})
        if path == "/2/users/1/tweets":
            # Without results there is no "data".
            count = {"meta": {"result_count": len(self.posts)}}
            return ok(count | ({"data": self.posts[::-1]} if self.posts else {}))
        if path == "/2/media/upload":
            names, values, file = parts(request)
            assert (names, values) == (
                ["media_category", "media"],
                {"media_category": "tweet_image"},
            )
            image_of(payload(file), 5_000_000, "JPEG", "PNG", "WEBP", "GIF")
            media = str(10**18 + len(self.media))
            self.media[media] = ""
            return ok(
                {"data": {"id": media, "media_key": f"3_{media}", "expires_after_secs": 86_400}}
            )
        body = json.loads(request.content)
        if path == "/2/media/metadata":
            assert body.keys() == {"id", "metadata"}
            self.media[body["id"]] = body["metadata"]["alt_text"]["text"]
            return ok({"data": {"id": body["id"]}})
        assert path == "/2/tweets"
        assert body.keys() == {"text", "media", "made_with_ai"}
        (media,) = body["media"]["media_ids"]
        if any(each["text"].startswith(body["text"]) for each in self.posts):
            raise RefusalError(403, {"title": "Forbidden", "detail": "duplicate content"})
        said = re.sub(r"https?://\S+", "https://t.co/xyz", html.escape(body["text"], quote=False))
        text = f"{said} https://t.co/abc"
        post = {"id": str(70 + len(self.posts)), "text": text, "alt": self.media[media]}
        attachments = {"media_keys": [f"3_{media}"]}
        self.posts.append({**post, "ai": body["made_with_ai"], "attachments": attachments})
        return ok({"data": {"id": post["id"], "text": text}}, 201)


class InstagramSite(Site):
    """Instagram: it fetches a JPEG itself, and containers take a while."""

    environment: ClassVar[dict[str, str]] = {
        "INSTAGRAM_TOKEN": "token",
        "PUBLIC_BUCKET": "s3://bucket",
    }
    publishing = "POST /v26.0/17/media_publish"
    steps = ("POST /v26.0/17/media", "GET /v26.0/900", publishing)
    refusal = httpx2.Response(
        400, json={"error": {"code": 36003, "error_subcode": 2207009, "message": "Aspect ratio"}}
    )
    expired = httpx2.Response(400, json={"error": {"code": 190, "message": "Session has expired"}})

    def __init__(self) -> None:
        super().__init__()
        self.public: dict[str, bytes] = {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.quota = 50

    def public_link(self, data: bytes, name: str) -> str:
        """Take the place of the object store."""
        self.public[f"https://bucket.example/{name}?signature=1"] = data
        return f"https://bucket.example/{name}?signature=1"

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        if request.headers["authorization"] != "Bearer token":
            raise RefusalError(
                400, {"error": {"code": 190, "message": "Cannot parse access token"}}
            )
        path = request.url.path.removeprefix("/v26.0/")
        if path == "me":
            return ok({"id": "17", "username": "me"})
        if path == "17/content_publishing_limit":
            config = {"quota_total": self.quota, "quota_duration": 86_400}
            return ok({"data": [{"config": config, "quota_usage": len(self.posts)}]})
        if path == "17/media" and request.method == "POST":
            return self._container(form(request))
        if path == "17/media":
            posts = [{"id": each["id"], "caption": each["text"]} for each in self.posts]
            return ok({"data": posts[::-1]})
        if path == "17/media_publish":
            container = self.containers[form(request)["creation_id"]]
            if container["status_code"] != "FINISHED":
                error = {"code": 24, "error_subcode": 2207006, "message": "Unknown container"}
                raise RefusalError(400, {"error": error})
            container["status_code"] = "PUBLISHED"
            self.posts.append({**container["post"], "id": str(300 + len(self.posts))})
            return ok({"id": self.posts[-1]["id"]})
        container = self.containers[path]
        status = container["status_code"]
        if status == "IN_PROGRESS":  # the next look finds it done
            container["status_code"] = "FINISHED"
        return ok({"id": path, "status_code": status})

    def _container(self, sent: dict[str, str]) -> httpx2.Response:
        assert sent.keys() == {"image_url", "caption", "alt_text", "is_ai_generated"}
        data = self.public.get(sent["image_url"])
        if data is None:
            error = {"code": 9004, "error_subcode": 2207052, "message": "Could not be fetched"}
            raise RefusalError(400, {"error": error})
        image = image_of(data, 8 * 2**20, "JPEG")
        assert 0.8 <= image.width / image.height <= 1.91
        number = str(900 + len(self.containers))
        ai = sent["is_ai_generated"] == "true"
        post = {"text": sent["caption"], "alt": sent["alt_text"], "ai": ai}
        self.containers[number] = {"status_code": "IN_PROGRESS", "post": post}
        return ok({"id": number})


class SlackSite(Site):
    """Slack: refusals are a 200, and lengths are exact."""

    environment: ClassVar[dict[str, str]] = {"SLACK_TOKEN": "xoxb-1", "SLACK_CHANNEL": "C1"}
    publishing = "POST /api/files.completeUploadExternal"
    steps = ("POST /api/files.getUploadURLExternal", "POST /upload", publishing)
    refusal = httpx2.Response(200, json={"ok": False, "error": "not_in_channel"})
    expired = httpx2.Response(200, json={"ok": False, "error": "token_expired"})

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, dict[str, Any]] = {}

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        path = request.url.path
        if path.startswith("/upload/"):
            assert "authorization" not in request.headers
            file = self.files[path.removeprefix("/upload/")]
            if len(request.content) != int(file["length"]):
                return httpx2.Response(500, text="length")
            file["sent"] = True
            return httpx2.Response(200, text="OK")
        if request.headers["authorization"] != "Bearer xoxb-1":
            return ok({"ok": False, "error": "invalid_auth"})
        sent = form(request)
        if path == "/api/auth.test":
            return ok({"ok": True, "user_id": "U1"})
        if path == "/api/files.getUploadURLExternal":
            if len(sent["alt_txt"]) > 1000:
                return ok({"ok": False, "error": "alt_txt_too_large"})
            id = f"F{len(self.files)}"
            self.files[id] = {**sent, "sent": False, "channels": []}
            address = f"https://files.slack.com/upload/{id}"
            return ok({"ok": True, "upload_url": address, "file_id": id})
        if path == "/api/files.info":
            return ok({"ok": True, "file": {"channels": self.files[sent["file"]]["channels"]}})
        assert path == "/api/files.completeUploadExternal"
        (each,) = json.loads(sent["files"])
        file = self.files.get(each["id"])
        if file is None or not file["sent"]:
            return ok({"ok": False, "error": "file_not_found"})
        if sent["channel_id"] != "C1":
            return ok({"ok": False, "error": "channel_not_found"})
        file["channels"].append("C1")
        text = sent["initial_comment"]
        self.posts.append({"text": text, "alt": file["alt_txt"], "ai": "made with AI" in text})
        return ok({"ok": True, "files": [each]})


class DiscordSite(Site):
    """Discord: a webhook, whose address is its secret."""

    environment: ClassVar[dict[str, str]] = {
        "DISCORD_WEBHOOK": "https://discord.com/api/v10/webhooks/1/very-secret"
    }
    publishing = "POST /api/v10/webhooks/1/very-secret"
    steps = (publishing,)
    refusal = httpx2.Response(413, json={"code": 40005, "message": "Request entity too large"})
    expired = httpx2.Response(401, json={"code": 50027, "message": "Invalid Webhook Token"})

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        if request.url.path != "/api/v10/webhooks/1/very-secret":
            raise RefusalError(404, {"code": 10015, "message": "Unknown Webhook"})
        if not request.headers["user-agent"].startswith("gptimage/"):
            return httpx2.Response(403, text="<html>Cloudflare</html>")
        if request.method == "GET":
            return ok({"id": "1", "type": 1})
        assert dict(request.url.params) == {"wait": "true"}
        names, values, file = parts(request)
        assert names == ["payload_json", "files[0]"]
        payload_json = json.loads(values["payload_json"])
        (attachment,) = payload_json["attachments"]
        image_of(payload(file), 10 * 2**20, "PNG", "JPEG", "WEBP", "GIF")
        if len(payload_json["content"]) > 2000 or len(attachment["description"]) > 1024:
            raise RefusalError(400, {"code": 50035, "message": "Invalid Form Body"})
        text = payload_json["content"]
        alt = attachment["description"]
        self.posts.append({"text": text, "alt": alt, "ai": "made with AI" in text})
        return ok({"id": str(40 + len(self.posts))})


class BlueskySite(Site):
    """Bluesky: sessions that end, blobs by their digest, posts under keys of the client."""

    environment: ClassVar[dict[str, str]] = {
        "BLUESKY_HANDLE": "me.bsky.social",
        "BLUESKY_PASSWORD": "abcd-efgh",
    }
    publishing = "POST /xrpc/com.atproto.repo.putRecord"
    steps = ("POST /xrpc/com.atproto.repo.uploadBlob", publishing)
    refusal = httpx2.Response(400, json={"error": "InvalidRequest", "message": "Record/text"})
    expired = httpx2.Response(400, json={"error": "ExpiredToken", "message": "Token has expired"})

    def __init__(self) -> None:
        super().__init__()
        self.blobs: set[str] = set()
        self.records: dict[str, Any] = {}

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        name = request.url.path.removeprefix("/xrpc/com.atproto.")
        if name == "server.createSession":
            expected = {"identifier": "me.bsky.social", "password": "abcd-efgh"}
            if json.loads(request.content) != expected:
                raise RefusalError(401, {"error": "AuthenticationRequired", "message": "Invalid"})
            return ok({"did": "did:plc:me", "accessJwt": "jwt"})
        if request.headers["authorization"] != "Bearer jwt":
            raise RefusalError(400, {"error": "ExpiredToken", "message": "Token has expired"})
        if name == "repo.uploadBlob":
            image_of(request.content, 2_000_000, "JPEG", "PNG", "WEBP")
            link = hashlib.sha256(request.content).hexdigest()
            self.blobs.add(link)
            media_type = request.headers["content-type"]
            blob = {"$type": "blob", "ref": {"$link": link}, "mimeType": media_type}
            return ok({"blob": {**blob, "size": len(request.content)}})
        if name == "repo.getRecord":
            key = request.url.params["rkey"]
            if key not in self.records:
                raise RefusalError(400, {"error": "RecordNotFound", "message": "Could not locate"})
            return ok({"value": self.records[key]})
        assert name == "repo.putRecord"
        body = json.loads(request.content)
        assert re.fullmatch(r"[234567a-j][2-7a-z]{12}", body["rkey"])
        record = body["record"]
        (image,) = record["embed"]["images"]
        if image["image"]["ref"]["$link"] not in self.blobs or len(record["text"]) > 300:
            raise RefusalError(400, {"error": "InvalidRequest", "message": "Record/embed"})
        self.records[body["rkey"]] = record
        self.posts = [
            {
                "text": each["text"],
                "alt": each["embed"]["images"][0]["alt"],
                "ai": "made with AI" in each["text"],
            }
            for each in self.records.values()
        ]
        return ok({"uri": f"at://did:plc:me/app.bsky.feed.post/{body['rkey']}", "cid": "c"})


def payload(part: Message) -> bytes:
    """Return the bytes of a file in a form."""
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


SITES: dict[str, type[Site]] = {
    "x": XSite,
    "instagram": InstagramSite,
    "slack": SlackSite,
    "discord": DiscordSite,
    "bluesky": BlueskySite,
}
