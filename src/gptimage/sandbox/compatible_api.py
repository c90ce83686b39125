"""OpenRouter, Together and xAI: near OpenAI's Images API, each with its own parameters and replies.

From openrouter 1.3.84, together 3.1.1, xai-sdk 1.21 and reports of xAI's REST API. Of models that
are not OpenAI's or Google's, only the names are taken from there; what they draw is made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, cast

from attrs import evolve
from pybase64 import b64encode

from gptimage._internal.json import table
from gptimage.models.catalog import Models, ModelSpec
from gptimage.models.pricing import Usage, cost_of
from gptimage.models.sizes import Size
from gptimage.sandbox import drawing, replies
from gptimage.sandbox.dialect import INVALID_KEY, JSON, Dialect, Keep, Provider, bearer
from gptimage.sandbox.failures import ErrorReply, missing, not_one_of
from gptimage.sandbox.images_api import Policy, accept, image_at
from gptimage.sandbox.job import Job
from gptimage.sandbox.wire import Reader, accepted, is_multipart
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


class _Compatible(Dialect):
    """What the three have in common: a bearer token, JSON alone, and nothing but images."""

    images_only: ClassVar[bool] = True
    key_message: ClassVar[str]
    missing_model: ClassVar[str] = "The model {} does not exist."

    def route(self, path: str) -> tuple[str, str | None]:
        """Return a path below the base URL."""
        return path.partition("?")[0].removeprefix(self.prefix), None

    def check_key(self, headers: Mapping[str, str], path: str) -> None:
        """Check the bearer token.

        Raises:
            ErrorReply: There is none, or a wrong one.
        """
        key = bearer(headers)
        if not key or key == INVALID_KEY:
            raise ErrorReply(self.key_message, code="invalid_api_key", status=401)

    def arrived(
        self, request: HttpRequest, deployment: str | None, query: Mapping[str, str], policy: Policy
    ) -> HttpRequest:
        """Return the request, which is JSON.

        Raises:
            ErrorReply: It is a form.
        """
        if self.draws(request.path) and is_multipart(request):
            raise ErrorReply("Expected a request with `Content-Type: application/json`", status=415)
        return request

    def no_model(self, name: str) -> ErrorReply:
        """Refuse a model that is not known."""
        return ErrorReply(self.missing_model.format(name[:100]), status=404, param="model")

    def refuse(self, error: ErrorReply, request_id: str) -> HttpReply:
        """Return the reply for a refusal."""
        body = json.dumps(self.document(error, request_id)).encode()
        return HttpReply(status=self.status(error), headers={**JSON, **error.headers}, body=body)

    def status(self, error: ErrorReply) -> int:
        """Return the HTTP status of a refusal."""
        return error.status

    def document(self, error: ErrorReply, request_id: str) -> dict[str, object]:
        """Return the body of a refusal."""
        raise NotImplementedError

    def empty(self, created: int) -> bytes:
        """Return a success without images."""
        return json.dumps({"data": []}).encode()


# OpenRouter: its own path, a cost in each reply, and what the model behind it takes.

_SHARED: Final = frozenset(accepted("openrouter", "parameters"))
_OPENAI: Final = _SHARED | {"quality", "background", "output_format", "output_compression"}
_GOOGLE: Final = (_SHARED | {"seed"}) - {"stream"}
_PASSED: Final = ("n", "quality", "background", "output_format", "output_compression")
_RESOLUTIONS: Final = ("512", "768", "1K", "1.5K", "2K", "4K")
_ROUTER_CODES: Final[Mapping[str | None, tuple[int, str]]] = {
    "moderation_blocked": (403, "Your input was flagged by the provider's moderation."),
    "insufficient_quota": (402, "Insufficient credits. Add more and retry the request."),
    "billing_hard_limit_reached": (402, "The API key has reached its spending limit."),
    "rate_limit_exceeded": (429, "Rate limit exceeded: image requests per minute."),
    "image_generation_failed": (502, "Provider returned error"),
}


class OpenRouter(_Compatible):
    """The dialect of OpenRouter, in front of OpenAI's and Google's models."""

    name: ClassVar[Provider] = "openrouter"
    prefix: ClassVar[str] = "/api/v1"
    key_message: ClassVar[str] = "No auth credentials found"

    def draws(self, path: str) -> bool:
        """Return whether a request to this path draws."""
        return path == "/images"

    def accept(self, request: HttpRequest, policy: Policy) -> Job:
        """Return the job a request asks for.

        Raises:
            ErrorReply: A rule is broken.
        """
        read = Reader(request.body, form=False)
        name = read.text("model", required=True) or ""
        author, _, slug = name.partition("/")
        google = author == "google"
        models = _catalogues(policy).get(author)
        spec = models.get(slug) if models else None
        if spec is None or spec.state(policy.today) == "shut_down":
            raise ErrorReply(f"{name[:100]} is not a valid model ID")
        read.only(_GOOGLE if google else _OPENAI)
        read.choice("resolution", _RESOLUTIONS)
        images = [_reference(each) for each in read.objects("input_references")]
        asked = _pixels(read, spec)
        if not google:
            return self._at_openai(request, policy, spec, images, asked)
        if (read.whole("n", 1, 10) or 1) != 1:
            raise ErrorReply(f"{name} makes one image per request: n must be 1")
        width, height = asked or (1024, 1024)
        return Job(
            operation="edit" if images else "generation",
            spec=spec,
            prompt=read.text("prompt", required=True) or "",
            width=width,
            height=height,
            quality="medium",
            format="jpeg",
            compression=90,
            inputs=tuple(image_at(url, f"input_references[{k}]") for k, url in enumerate(images)),
            draw=policy.draw,
        )

    def _at_openai(
        self, request: HttpRequest, policy: Policy, spec: ModelSpec, images: list[str],
        asked: tuple[int, int] | None,
    ) -> Job:  # fmt: skip
        """Return the job by OpenAI's own rules, which the request ends at."""
        streams = Reader(request.body, form=False).flag("stream")
        body: dict[str, object] = {"model": spec.id, "prompt": request.body.get("prompt")}
        body |= {name: request.body[name] for name in _PASSED if name in request.body}
        body |= {"stream": True, "partial_images": 2} if streams else {}
        if asked is not None:
            body["size"] = f"{asked[0]}x{asked[1]}"
        if not images:
            return accept(evolve(request, body=body), "generation", policy)
        body["images"] = [{"image_url": url} for url in images]
        return accept(evolve(request, body=body), "edit", policy)

    def whole(self, job: Job, models: Models, created: int, keep: Keep) -> bytes:
        """Return the JSON body with every image of a job, and what they cost."""
        data = [_item(drawing.paint(job, index), job) for index in range(job.n)]
        usage = _cost(job, models, created, images=job.n)
        return json.dumps({"created": created, "data": data, "usage": usage}).encode()

    def events(self, job: Job, models: Models, now: Callable[[], int]) -> Iterator[ServerEvent]:
        """Yield partial images and the whole one, of each image; then the end of the stream."""
        for index in range(job.n):
            *partial, last = drawing.stages(job, index)
            for number, data in enumerate(partial):
                body = {**_item(data, job), "partial_image_index": number}
                del body["media_type"]
                yield _event({"type": "image_generation.partial_image", **body})
            body = {**_item(last, job), "created": now()}
            body["usage"] = _cost(job, models, now(), images=1)
            yield _event({"type": "image_generation.completed", **body})
        yield ServerEvent(data=b"[DONE]")

    def status(self, error: ErrorReply) -> int:
        """Return the HTTP status of a refusal."""
        return _ROUTER_CODES.get(cast("str | None", error.error["code"]), (error.status, ""))[0]

    def document(self, error: ErrorReply, request_id: str) -> dict[str, object]:
        """Return the body of a refusal."""
        code = cast("str | None", error.error["code"])
        found: dict[str, object] = {
            "code": self.status(error),
            "message": _ROUTER_CODES.get(code, (0, str(error.error["message"])))[1],
        }
        if code == "moderation_blocked":
            found["metadata"] = {"reasons": ["sexual"], "provider_name": "OpenAI"}
        return {"error": found}

    def late(self, error: ErrorReply, request_id: str) -> ServerEvent:
        """Return a refusal after a stream has begun."""
        return _event({"type": "error", "error": {"message": str(error.error["message"])}})

    def look_up(self, request: HttpRequest, policy: Policy) -> dict[str, object]:
        """Return the models.

        Raises:
            ErrorReply: It has nothing under this path.
        """
        if (request.method, request.path) != ("GET", "/images/models"):
            return super().look_up(request, policy)
        listed = [
            _listed(f"{author}/{spec.id}", spec, _OPENAI if author == "openai" else _GOOGLE)
            for author, models in _catalogues(policy).items()
            for spec in models
            if spec.state(policy.today) != "shut_down"
        ]
        return {"data": listed}


def _catalogues(policy: Policy) -> dict[str, Models]:
    """Return what it draws with, by the author that a model's name begins with."""
    return {"openai": policy.models, "google": Models.load().for_provider("gemini")}


def _reference(part: Reader) -> str:
    part.only(("type", "image_url"))
    if part.text("type") != "image_url":
        raise not_one_of(f"{part.prefix}type", str(part.body.get("type")), ("image_url",))
    url = (part.object("image_url") or Reader({}, form=False)).text("url")
    if not url:
        raise missing(f"{part.prefix}image_url.url")
    return url


def _pixels(read: Reader, spec: ModelSpec) -> tuple[int, int] | None:
    """Return the pixels asked for by size, or by ratio and resolution; None for neither."""
    size, ratio, tier = read.text("size"), read.text("aspect_ratio"), read.text("resolution")
    exact = size is not None and "x" in size
    if exact and (ratio or tier):
        raise ErrorReply("size contradicts aspect_ratio or resolution: send one of them")
    tier, size = (tier or size, None) if not exact else (None, size)
    if size is None and tier is None and ratio in (None, "auto"):
        return None
    named = {name: pixels for pixels, name in spec.sizes.named.items()}
    if named and size is None:
        found = named.get((ratio or "1:1", tier or "1K"))
        if found is None:
            raise ErrorReply(f"{spec.id} does not support {ratio or '1:1'} at {tier or '1K'}")
        return found
    try:
        wanted = Size.parse(size or ratio or "1:1").dimensions or (1024, 1024)
    except ValueError as error:
        raise ErrorReply(f"Invalid size or aspect_ratio: {size or ratio}") from error
    if size is not None and not named:
        return wanted  # OpenAI judges it
    scale = {"512": 0.5, "768": 0.75, "1.5K": 1.5, "2K": 2.0, "4K": 3.0}.get(tier or "1K", 1.0)
    return spec.sizes.covering(round(wanted[0] * scale), round(wanted[1] * scale))


def _item(data: bytes, job: Job) -> dict[str, Any]:
    kind = {"svg": "image/svg+xml"}.get(job.format, f"image/{job.format}")
    return {"b64_json": b64encode(data).decode("ascii"), "media_type": kind}


def _event(value: dict[str, object]) -> ServerEvent:
    return ServerEvent(data=json.dumps(value).encode())


def _cost(job: Job, models: Models, created: int, *, images: int) -> dict[str, object]:
    """Return the usage with its cost, by the catalogue's prices of that day."""
    used = _tokens(job, models, images)
    cost = cost_of(job.spec, used, datetime.fromtimestamp(created, UTC).date())
    return {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.total_tokens,
        "completion_tokens_details": {"image_tokens": used.output_tokens, "reasoning_tokens": 0},
        "cost": float(cost.usd) if cost else 0.04,
        "is_byok": False,
    }


def _tokens(job: Job, models: Models, images: int) -> Usage:
    if job.spec.tier_tokens:
        text = math.ceil(len(job.prompt) / 4)
        seen = (job.spec.input_image_tokens or 258) * len(job.inputs)
        drawn = job.spec.output_tokens(job.width, job.height, None) or 0
    else:
        counted = replies.usage(job, models, images=images)
        details = table(counted["input_tokens_details"])
        text, seen = details["text_tokens"], details["image_tokens"]
        drawn = cast("int", counted["output_tokens"])
    return Usage(
        input_tokens=text + seen, output_tokens=drawn, total_tokens=text + seen + drawn,
        text_tokens=text, image_tokens=seen,
    )  # fmt: skip


def _listed(name: str, spec: ModelSpec, parameters: frozenset[str]) -> dict[str, object]:
    """Return a model of the list, with the parameters it takes."""
    supported = {each: {"type": "boolean"} for each in sorted(parameters - {"model", "prompt"})}
    return {
        "id": name,
        "name": name,
        "description": spec.role,
        "created": 1_760_000_000,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
        "endpoints": f"/api/v1/images/models/{name}/endpoints",
        "supported_parameters": supported,
        "supports_streaming": not spec.tier_tokens,
    }


# Together: width and height, and addresses of images unless base64 is asked for.

_FLUX: Final = accepted("together", "models")
_TOGETHER: Final = accepted("together", "parameters")
_LARGEST: Final = 2048


class Together(_Compatible):
    """The dialect of Together."""

    name: ClassVar[Provider] = "together"
    key_message: ClassVar[str] = "Invalid API key provided."
    missing_model: ClassVar[str] = "Unable to access model {}."

    def draws(self, path: str) -> bool:
        """Return whether a request to this path draws."""
        return path == "/images/generations"

    def accept(self, request: HttpRequest, policy: Policy) -> Job:
        """Return the job a request asks for.

        Raises:
            ErrorReply: A rule is broken.
        """
        read = Reader(request.body, form=False)
        read.only(_TOGETHER)
        name = read.text("model", required=True) or ""
        if name not in _FLUX:
            raise self.no_model(name)
        for each in ("guidance_scale", "steps", "seed"):
            read.number(each, 0, 2**63)
        read.flag("disable_safety_checker")
        read.text("negative_prompt")
        given = [url] if (url := read.text("image_url")) else []
        given += [str(each) for each in read.array("reference_images")]
        return Job(
            operation="edit" if given else "generation",
            spec=_foreign(name),
            prompt=read.text("prompt", required=True) or "",
            n=read.whole("n", 1, 4) or 1,
            width=read.whole("width", 64, _LARGEST) or 1024,
            height=read.whole("height", 64, _LARGEST) or 1024,
            quality="medium",
            format=read.choice("output_format", ("jpeg", "png")) or "jpeg",
            compression=90,
            inputs=tuple(image_at(url, f"reference_images[{k}]") for k, url in enumerate(given)),
            by_url=read.choice("response_format", ("base64", "url")) != "base64",
            draw=policy.draw,
        )

    def whole(self, job: Job, models: Models, created: int, keep: Keep) -> bytes:
        """Return the JSON body with every image of a job."""
        data: list[dict[str, object]] = []
        for index in range(job.n):
            drawn = drawing.paint(job, index)
            kind = "url" if job.by_url else "b64_json"
            shown = keep(drawn, job.format) if job.by_url else b64encode(drawn).decode("ascii")
            data.append({"index": index, "type": kind, kind: shown})
        body = {"id": f"sandbox-{created}", "model": job.spec.id, "object": "list", "data": data}
        return json.dumps(body).encode()

    def document(self, error: ErrorReply, request_id: str) -> dict[str, object]:
        """Return the body of a refusal."""
        shown = {name: error.error[name] for name in ("message", "type", "param", "code")}
        return {"id": request_id, "error": {**shown, "message": error.named(request_id)["message"]}}


# xAI: ratios and resolutions, edits as JSON, and images withheld without a word.

_GROK: Final = ("grok-imagine-image", "grok-imagine-image-2.0")
_RATIOS: Final = accepted("xai", "ratios")
_XAI: Final = accepted("xai", "parameters")
_CENTS: Final = {
    ("grok-imagine-image", "1k"): 2, ("grok-imagine-image", "2k"): 2,
    ("grok-imagine-image-2.0", "1k"): 4, ("grok-imagine-image-2.0", "2k"): 6,
}  # fmt: skip
"""Cents per image, as in litellm 1.110.2."""


class XAI(_Compatible):
    """The dialect of xAI."""

    name: ClassVar[Provider] = "xai"
    key_message: ClassVar[str] = (
        "Incorrect API key provided. You can obtain an API key from https://console.x.ai."
    )

    def accept(self, request: HttpRequest, policy: Policy) -> Job:
        """Return the job a request asks for.

        Raises:
            ErrorReply: A rule is broken.
        """
        edits = request.path == "/images/edits"
        read = Reader(request.body, form=False)
        for name in read.body:
            if name not in _XAI and not (edits and name in ("image", "images")):
                raise ErrorReply(f"Argument not supported: {name[:100]}", param=name)
        name = read.text("model", required=True) or ""
        if name not in _GROK:
            raise self.no_model(name)
        read.choice("quality", ("low", "medium"))
        tier = read.choice("resolution", ("1k", "2k")) or "1k"
        ratio = read.choice("aspect_ratio", _RATIOS) or "1:1"
        width, height = Size.parse(ratio).dimensions or (1024, 1024)
        scale = 2 if tier == "2k" else 1
        one = [each] if edits and (each := read.object("image")) else []
        given = [*one, *(read.objects("images") if edits else [])]
        if edits and not given:
            raise missing("image")
        return Job(
            operation="edit" if edits else "generation",
            spec=evolve(_foreign(name), role=tier),
            prompt=read.text("prompt", required=True) or "",
            n=read.whole("n", 1, 10) or 1,
            width=width * scale,
            height=height * scale,
            quality="medium",
            format="jpeg",
            compression=90,
            inputs=tuple(image_at(each.text("url") or "", each.prefix) for each in given),
            by_url=read.choice("response_format", ("url", "b64_json")) != "b64_json",
            draw=policy.draw,
        )

    def whole(self, job: Job, models: Models, created: int, keep: Keep) -> bytes:
        """Return the JSON body with every image of a job."""
        data: list[dict[str, object]] = []
        for index in range(job.n):
            drawn = drawing.paint(job, index)
            shown = keep(drawn, "jpg") if job.by_url else b64encode(drawn).decode("ascii")
            data.append({"url" if job.by_url else "b64_json": shown, "mime_type": "image/jpeg"})
        cents = _CENTS[job.spec.id, job.spec.role] * job.n
        body = {"data": data, "usage": {"cost_in_usd_ticks": cents * 100_000_000}}
        return json.dumps(body).encode()

    def refuse(self, error: ErrorReply, request_id: str) -> HttpReply:
        """Return the reply for a refusal; what moderation withholds is a success without it."""
        if error.error["code"] != "moderation_blocked":
            return super().refuse(error, request_id)
        stage = table(error.error.get("moderation_details")).get("moderation_stage")
        held = [{"url": "", "respect_moderation": False}] if stage == "output" else []
        return HttpReply(status=200, headers=JSON, body=json.dumps({"data": held}).encode())

    def status(self, error: ErrorReply) -> int:
        """Return the HTTP status of a refusal: a wrong key is a wrong argument there."""
        return 400 if error.error["code"] == "invalid_api_key" else error.status

    def document(self, error: ErrorReply, request_id: str) -> dict[str, object]:
        """Return the body of a refusal."""
        message = str(error.named(request_id)["message"])
        return {"code": str(self.status(error)), "error": message}


def _foreign(name: str) -> ModelSpec:
    """Return a stand-in for a model of which nothing but its name is known."""
    models = Models.load()
    return evolve(models[models.default], id=name, family=name)
