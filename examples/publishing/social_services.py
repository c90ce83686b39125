"""Five services that take an image and a text, each as upload, publish, and look for it."""

from __future__ import annotations

import html
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx2
from attrs import frozen
from publish import Api, PublishError, error_of, json_of

import gptimage
from gptimage import Image, Size
from gptimage.typing import Record


@frozen
class Post:
    """An image that is saved, with what is said about it."""

    record: Record
    image: Image
    text: str
    alt: str


class Service:
    """One service, with credentials of the environment that it accepts.

    Attributes:
        name: Its name.
        alt_limit: The most characters of an alternative text.
        text_limit: The most characters of a text.
        suffix: What is added to it where the service has no flag for images made with AI.
    """

    name: ClassVar[str]
    alt_limit: ClassVar[int]
    text_limit: ClassVar[int]
    suffix: ClassVar[str] = "\n(Image made with AI)"

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        raise NotImplementedError

    @classmethod
    def check(cls, text: str, size: Size) -> None:
        """Refuse what the service would refuse, before anything is paid."""
        del size
        if len(text + cls.suffix) > cls.text_limit:
            most = cls.text_limit - len(cls.suffix)
            raise PublishError(f"the text has {len(text)} characters; {cls.name} takes {most}")

    def upload(self, post: Post) -> str:
        """Send the image, and return what `publish` needs; nobody sees it yet."""
        raise NotImplementedError

    def publish(self, post: Post, upload: str) -> str:
        """Make it visible, and return its id; repeated, it may be there twice."""
        raise NotImplementedError

    def find(self, post: Post, upload: str) -> str | None:
        """Return the id if an earlier `publish` was accepted, else None."""
        raise NotImplementedError


def env(name: str) -> str:
    """Return a variable of the environment that must be there."""
    try:
        return os.environ[name]
    except KeyError:
        raise PublishError(f"{name} is not set; see social_services.py") from None


class X(Service):
    """X: X_ACCESS_TOKEN, X_REFRESH_TOKEN and X_CLIENT_ID of OAuth 2.0 with PKCE.

    Scopes: tweet.read tweet.write users.read media.write offline.access. A post costs $0.015, with
    an address in its text $0.20. The refresh token changes each time: it is written to
    ``x-token.json`` before it is used, and read from there at the next start.
    """

    name = "x"
    alt_limit = 1000
    text_limit = 280
    suffix = ""
    _FILE: Final = Path("x-token.json")

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        self._api = Api(http, wait, self._refresh)
        self._token = {"access": env("X_ACCESS_TOKEN"), "refresh": env("X_REFRESH_TOKEN")}
        if self._FILE.exists():
            self._token = json.loads(self._FILE.read_text("utf-8"))
        self._api.headers = {"Authorization": f"Bearer {self._token['access']}"}
        self._user = str(self._call("GET", "users/me")["id"])

    def _refresh(self) -> dict[str, str]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._token["refresh"],
            "client_id": env("X_CLIENT_ID"),
        }
        url = "https://api.x.com/2/oauth2/token"
        response = self._api.send("POST", url, token=False, data=form)
        if not response.is_success:
            raise PublishError(
                "X accepts the refresh token no more: let the person log in again, set both tokens "
                f"anew and delete {self._FILE}"
            )
        new = response.json()
        self._token = {"access": new["access_token"], "refresh": new["refresh_token"]}
        # Written before it is used: the old one is worth nothing any more.
        self._FILE.touch(mode=0o600)
        self._FILE.write_text(json.dumps(self._token), "utf-8")
        return {"Authorization": f"Bearer {self._token['access']}"}

    def _call(self, method: str, route: str, **request: Any) -> Any:
        response = self._api.send(method, f"https://api.x.com/2/{route}", **request)
        body = json_of(response)
        if response.is_success and "meta" in body:
            return body.get("data", [])  # an empty list has no data
        if not response.is_success or "data" not in body:
            why = body.get("detail") or body.get("title") or response.text[:200]
            raise error_of(response, f"X: {response.status_code} {why}")
        return body["data"]

    def upload(self, post: Post) -> str:
        """Upload the image with its alternative text; it can be used for a day."""
        image = post.image.shrink(5_000_000)
        file = {"media": (f"image.{image.extension}", image.data, image.mime_type)}
        form = {"media_category": "tweet_image"}
        media = str(self._call("POST", "media/upload", data=form, files=file)["id"])
        metadata = {"alt_text": {"text": post.alt}}
        self._call("POST", "media/metadata", json={"id": media, "metadata": metadata})
        return media

    def publish(self, post: Post, upload: str) -> str:
        """Post it, marked as made with AI."""
        body = {"text": post.text, "media": {"media_ids": [upload]}, "made_with_ai": True}
        return str(self._call("POST", "tweets", json=body)["id"])

    def find(self, post: Post, upload: str) -> str | None:
        """Look at the last posts of the account, $0.005 each; X rewrites texts."""
        params = {"max_results": 5, "tweet.fields": "attachments"}
        posts = self._call("GET", f"users/{self._user}/tweets", params=params)
        for each in posts:
            # Links become t.co, & becomes &amp;: an uploaded file stays what it is.
            keys = each.get("attachments", {}).get("media_keys", [])
            if f"3_{upload}" in keys or html.unescape(each["text"]).startswith(post.text):
                return str(each["id"])
        return None


class Instagram(Service):
    """Instagram: INSTAGRAM_TOKEN of Instagram Login, for a business or creator account.

    It fetches the image itself: PUBLIC_BUCKET is an object store (s3://bucket/folder, az://...)
    whose signed link is good for an hour. Scopes: instagram_business_basic and
    instagram_business_content_publish. The token is good for 60 days.
    """

    name = "instagram"
    alt_limit = 1000
    text_limit = 2200
    suffix = ""
    _BASE: Final = "https://graph.instagram.com/v26.0/"

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        self._wait = wait
        self._api = Api(http, wait)
        self._api.headers = {"Authorization": f"Bearer {env('INSTAGRAM_TOKEN')}"}
        self._id = str(self._call("GET", "me", params={"fields": "id,username"})["id"])

    @classmethod
    def check(cls, text: str, size: Size) -> None:
        """Refuse a shape that Instagram does not show: it goes from 4:5 to 1.91:1."""
        super().check(text, size)
        if size.dimensions is None or not 0.8 <= size.dimensions[0] / size.dimensions[1] <= 1.91:
            raise PublishError(f"--size {size}: Instagram takes pixels from 4:5 to 1.91:1")
        env("PUBLIC_BUCKET")

    def _call(self, method: str, route: str, **request: Any) -> Any:
        response = self._api.send(method, f"{self._BASE}{route}", **request)
        body = json_of(response)
        if response.is_success and body:
            return body
        error = body.get("error", {})
        why = error.get("error_user_msg") or error.get("message") or response.text[:200]
        numbers = f"{error.get('code')}/{error.get('error_subcode')}"
        advice = "; make a new token in the app's dashboard" if error.get("code") == 190 else ""
        raise error_of(response, f"Instagram: {response.status_code} {numbers} {why}{advice}")

    def upload(self, post: Post) -> str:
        """Make a container of the image, marked as made with AI, and wait until it is ready."""
        fields = "config,quota_usage"
        limit = self._call("GET", f"{self._id}/content_publishing_limit", params={"fields": fields})
        if limit["data"][0]["quota_usage"] >= limit["data"][0]["config"]["quota_total"]:
            raise PublishError("Instagram: no more posts today; start this again tomorrow")
        image = post.image.convert("jpeg").shrink(8 * 2**20)
        form = {
            "image_url": public_link(image.data, f"{post.record.sha256[:16]}.jpg"),
            "caption": post.text,
            "alt_text": post.alt,
            "is_ai_generated": "true",
        }
        container = str(self._call("POST", f"{self._id}/media", data=form)["id"])
        for attempt in range(8):
            status = self._status(container)
            if status == "FINISHED":
                return container
            if status in {"ERROR", "EXPIRED"}:
                raise PublishError(f"Instagram refused the image of container {container}")
            self._wait(min(2.0**attempt, 60.0))
        raise PublishError(f"Instagram still prepares container {container}; start this again")

    def _status(self, container: str) -> str:
        return str(self._call("GET", container, params={"fields": "status_code"})["status_code"])

    def publish(self, post: Post, upload: str) -> str:
        """Publish the container."""
        del post
        form = {"creation_id": upload}
        return str(self._call("POST", f"{self._id}/media_publish", data=form)["id"])

    def find(self, post: Post, upload: str) -> str | None:
        """Read what became of the container; it lives for a day."""
        if self._status(upload) != "PUBLISHED":
            return None
        params = {"fields": "id,caption", "limit": 10}
        media = self._call("GET", f"{self._id}/media", params=params)["data"]
        return next((each["id"] for each in media if each.get("caption") == post.text), upload)


def public_link(data: bytes, name: str) -> str:
    """Put an image into PUBLIC_BUCKET, and return an address that anybody may open for an hour."""
    import obstore
    from obstore.store import from_url

    bucket: Any = from_url(env("PUBLIC_BUCKET"))
    obstore.put(bucket, name, data, attributes={"Content-Type": "image/jpeg"})
    return str(obstore.sign(bucket, "GET", name, timedelta(hours=1)))


_FAILURES: Final = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
"""What Slack says, with a 200, of a request of which a part may have been done."""


class Slack(Service):
    """Slack: SLACK_TOKEN of a bot (xoxb-...) that is in SLACK_CHANNEL (an id such as C0123).

    Scopes: files:write, and files:read to look for a post that may have been accepted.
    """

    name = "slack"
    alt_limit = 1000
    text_limit = 4000

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        self._api = Api(http, wait)
        self._api.headers = {"Authorization": f"Bearer {env('SLACK_TOKEN')}"}
        self._channel = env("SLACK_CHANNEL")
        self._call("auth.test")

    def _call(self, method: str, **form: Any) -> Any:
        response = self._api.send("POST", f"https://slack.com/api/{method}", data=form)
        body = json_of(response) if response.is_success else {}
        if body.get("ok"):
            return body
        why = str(body.get("error", response.status_code))
        needed = f" (it needs {body['needed']})" if "needed" in body else ""
        text = f"Slack: {method}: {why}{needed}"
        if "error" in body and why not in _FAILURES:  # a refusal is a 200, too
            raise PublishError(text)
        raise error_of(response, text)

    def upload(self, post: Post) -> str:
        """Send the file as it is; with its bytes it keeps the signature of its maker."""
        image = post.image
        name = f"image.{image.extension}"
        target = self._call(
            "files.getUploadURLExternal", filename=name, length=image.nbytes, alt_txt=post.alt
        )
        # The address is the permission: the token stays out of it.
        response = self._api.send("POST", target["upload_url"], token=False, content=image.data)
        if not response.is_success:
            raise PublishError(f"Slack: the upload was refused: {response.status_code}")
        return str(target["file_id"])

    def publish(self, post: Post, upload: str) -> str:
        """Share the file in the channel."""
        files = json.dumps([{"id": upload, "title": post.alt}])
        comment = post.text + self.suffix
        self._call(
            "files.completeUploadExternal",
            files=files,
            channel_id=self._channel,
            initial_comment=comment,
        )
        return upload

    def find(self, post: Post, upload: str) -> str | None:
        """Ask whether the file is shared."""
        del post
        file = self._call("files.info", file=upload)["file"]
        return upload if file.get("channels") or file.get("groups") else None


class Discord(Service):
    """Discord: DISCORD_WEBHOOK, the address of a webhook; who has it can post, so it is secret."""

    name = "discord"
    alt_limit = 1024
    text_limit = 2000

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        self._url = env("DISCORD_WEBHOOK")
        self._api = Api(http, wait, hide=self._url.rpartition("/")[2])
        self._api.headers = {"User-Agent": f"gptimage/{gptimage.__version__}"}
        self._read(self._api.send("GET", self._url))

    def _read(self, response: httpx2.Response) -> Any:
        body = json_of(response)
        if response.is_success and body:
            return body
        why = f"{body.get('code', '')} {body.get('message', '')}".strip()
        gone = "; the webhook is gone: make a new one" if response.status_code in {401, 404} else ""
        raise error_of(response, f"Discord: {response.status_code} {why}{gone}")

    def upload(self, post: Post) -> str:
        """Do nothing: image and text are one request."""
        del post
        return "begun"

    def publish(self, post: Post, upload: str) -> str:
        """Post both, and wait for the id."""
        del upload
        image = post.image.shrink(10 * 2**20)
        name = f"image.{image.extension}"
        payload: dict[str, Any] = {
            "content": post.text + self.suffix,
            "attachments": [{"id": 0, "filename": name, "description": post.alt}],
            "allowed_mentions": {"parse": []},
        }
        response = self._api.send(
            "POST",
            self._url,
            params={"wait": "true"},
            data={"payload_json": json.dumps(payload)},
            files={"files[0]": (name, image.data, image.mime_type)},
        )
        return str(self._read(response)["id"])

    def find(self, post: Post, upload: str) -> str | None:
        """Leave it to a person: a webhook cannot look into its channel."""
        del upload
        raise PublishError(
            f"an earlier start may have posted {post.text[:60]!r}, and a webhook cannot look: see "
            "whether it is in the channel, then start this with --posted ID or with --again"
        )


class Bluesky(Service):
    """Bluesky: BLUESKY_HANDLE and BLUESKY_PASSWORD, an app password; BLUESKY_SERVER if another.

    The key of the post is made of the image, so that a second post replaces the first.
    """

    name = "bluesky"
    alt_limit = 2000
    text_limit = 300
    _COLLECTION: Final = "app.bsky.feed.post"

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None]) -> None:
        self._server = os.environ.get("BLUESKY_SERVER", "https://bsky.social")
        self._api = Api(http, wait, self._log_in)
        self._did = ""
        self._api.headers = self._log_in()

    def _log_in(self) -> dict[str, str]:
        body = {"identifier": env("BLUESKY_HANDLE"), "password": env("BLUESKY_PASSWORD")}
        session = self._call("POST", "com.atproto.server.createSession", token=False, json=body)
        self._did = str(session["did"])
        return {"Authorization": f"Bearer {session['accessJwt']}"}

    def _call(self, method: str, name: str, **request: Any) -> Any:
        response = self._api.send(method, f"{self._server}/xrpc/{name}", **request)
        body = json_of(response)
        if not response.is_success:
            why = f"{body.get('error', '')} {body.get('message', '')}".strip()
            raise error_of(response, f"Bluesky: {response.status_code} {why}")
        return body

    def upload(self, post: Post) -> str:
        """Do nothing: a file that no post names is thrown away within minutes."""
        return self._key(post)

    def publish(self, post: Post, upload: str) -> str:
        """Upload the image, and put the post under its key."""
        image = post.image.shrink(2_000_000)
        headers = {"Content-Type": image.mime_type}
        name = "com.atproto.repo.uploadBlob"
        blob = self._call("POST", name, content=image.data, headers=headers)["blob"]
        ratio = {"width": image.width, "height": image.height}
        picture = {"image": blob, "alt": post.alt, "aspectRatio": ratio}
        record = {
            "$type": self._COLLECTION,
            "text": post.text + self.suffix,
            "createdAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "embed": {"$type": "app.bsky.embed.images", "images": [picture]},
        }
        body = {"repo": self._did, "collection": self._COLLECTION, "rkey": upload}
        self._call("POST", "com.atproto.repo.putRecord", json={**body, "record": record})
        return upload

    def find(self, post: Post, upload: str) -> str | None:
        """Read the post under its key."""
        del post
        params = {"repo": self._did, "collection": self._COLLECTION, "rkey": upload}
        try:
            self._call("GET", "com.atproto.repo.getRecord", params=params)
        except PublishError as error:
            if "RecordNotFound" in str(error):
                return None
            raise
        return upload

    def _key(self, post: Post) -> str:
        """Return the time of the image as a key of Bluesky: 13 letters that sort as time does."""
        number = int(post.record.created.timestamp() * 1e6) << 10 | int(post.record.sha256[:2], 16)
        letters = "234567abcdefghijklmnopqrstuvwxyz"
        return "".join(letters[number >> shift & 31] for shift in range(60, -1, -5))


SERVICES: Final[dict[str, type[Service]]] = {
    each.name: each for each in (X, Instagram, Slack, Discord, Bluesky)
}
