"""How a service is addressed: its paths, keys, bodies and refusals. What is drawn is the same.

`Dialect` is OpenAI's own; those of other services derive from it and replace what differs there.
Each takes only the parameters its service is known to take, and refuses with that service's own
error bodies. All of it comes from documentation, packages and third parties' reports; nothing was
compared with a live service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final, Literal
from urllib.parse import unquote

from attrs import evolve

from gptimage.models.catalog import Models
from gptimage.sandbox import replies
from gptimage.sandbox.failures import ErrorReply, refusal
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


Provider = Literal["openai", "azure", "gemini", "openrouter", "together", "xai"]
"""Whose dialect a sandbox speaks."""
PROVIDERS: Final[tuple[Provider, ...]] = (
    "openai", "azure", "gemini", "openrouter", "together", "xai"
)  # fmt: skip

JSON: Final = {"content-type": "application/json"}
INVALID_KEY: Final = "sk-invalid"
"""The one key that every dialect refuses."""
Keep = Callable[[bytes, str], str]
"""Keeps the bytes of an image, and returns the address that serves them under this extension."""

_AZURE: Final = re.compile(r"/deployments/([^/]+)(/images/(?:generations|edits))")


def route(path: str) -> tuple[str, str | None]:
    """Return a path below the base URL, and the Azure deployment it names, if any.

    OpenAI's paths begin with ``/v1``, Azure's with ``/openai/v1`` or ``/openai``.
    """
    bare = path.partition("?")[0]
    for prefix in ("/openai", "/v1"):
        bare = bare.removeprefix(prefix) if bare.startswith(f"{prefix}/") else bare
    azure = _AZURE.fullmatch(bare)
    return (azure[2], unquote(azure[1])) if azure else (bare, None)


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an ``Authorization: Bearer`` header, or an empty string."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Dialect:
    """OpenAI's way of speaking; the base of all others."""

    name: ClassVar[Provider] = "openai"
    prefix: ClassVar[str] = "/v1"
    """The path of its base URL."""
    images_only: ClassVar[bool] = False
    """Whether it has images alone: no responses, files or batches."""

    def models(self) -> Models:
        """Return the catalogue of what it draws with."""
        return Models.load()

    def route(self, path: str) -> tuple[str, str | None]:
        """Return a path below the base URL, and the deployment it names, if any."""
        return route(path)

    def draws(self, path: str) -> bool:
        """Return whether a request to this path draws."""
        return path in {"/images/generations", "/images/edits"}

    def prompt(self, request: HttpRequest) -> object:
        """Return the prompt, in which a failure may be asked for."""
        return request.body.get("prompt")

    def check_key(self, headers: Mapping[str, str], path: str) -> None:
        """Check the key that came: a bearer token, or Azure's own header on Azure's paths.

        Raises:
            ErrorReply: There is none, or a wrong one.
        """
        key = headers.get("api-key", "").strip() or bearer(headers)
        if key and key != INVALID_KEY:
            return
        if path.startswith("/openai/"):
            raise refusal("azure_key")
        raise refusal("unauthorized" if key else "no_key")

    def arrived(
        self, request: HttpRequest, deployment: str | None, query: Mapping[str, str], policy: Policy
    ) -> HttpRequest:
        """Return the request with its model: Azure names a deployment in the path instead.

        Raises:
            ErrorReply: There is no such deployment.
        """
        if deployment is None:
            return request
        if "api-version" not in query:
            raise refusal("azure_resource")
        spec = policy.models.get(deployment)
        if spec is None or spec.state(policy.today) == "shut_down":
            raise refusal("azure_deployment")
        return evolve(request, body={**request.body, "model": deployment})

    def accept(self, request: HttpRequest, policy: Policy) -> Job:
        """Return the job a request asks for.

        Raises:
            ErrorReply: A rule is broken.
        """
        drawing = request.path == "/images/generations"
        return accept(request, "generation" if drawing else "edit", policy)

    def whole(self, job: Job, models: Models, created: int, keep: Keep) -> bytes:
        """Return the JSON body with every image of a job."""
        del keep
        return replies.whole(job, models, created)

    def events(self, job: Job, models: Models, now: Callable[[], int]) -> Iterator[ServerEvent]:
        """Yield the events of a job whose reply is a stream."""
        return replies.events(job, models, now)

    def empty(self, created: int) -> bytes:
        """Return a success without images."""
        return json.dumps({"created": created, "data": None}).encode()

    def refuse(self, error: ErrorReply, request_id: str) -> HttpReply:
        """Return the reply for a refusal."""
        headers = {**JSON, **error.headers}
        return HttpReply(status=error.status, headers=headers, body=error.body(request_id))

    def late(self, error: ErrorReply, request_id: str) -> ServerEvent:
        """Return a refusal after a stream has begun."""
        return replies.error_event(error.named(request_id))

    def head(self, request_id: str, started: float) -> dict[str, str]:
        """Return the headers of every reply."""
        return replies.head(request_id, started)

    def look_up(self, request: HttpRequest, policy: Policy) -> dict[str, object]:
        """Return what a dialect of images alone has besides them.

        Raises:
            ErrorReply: It has nothing under this path.
        """
        del policy
        raise ErrorReply(f"Invalid URL ({request.method} {request.path[:200]})", status=404)
