"""Google's Gemini: ``generateContent`` with image output, as strict as it is known to be.

From google-genai 3.6.1, Google's pages as others have copied them, and reports of the live API.
A refusal of the prompt or of the image is HTTP 200 without an image, as at the service.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, cast

from attrs import evolve, frozen
from pybase64 import b64encode

from gptimage._internal.json import table
from gptimage.models.catalog import Models, ModelSpec
from gptimage.sandbox import drawing
from gptimage.sandbox.dialect import INVALID_KEY, JSON, Dialect, Keep, Provider
from gptimage.sandbox.failures import ErrorReply, refusal
from gptimage.sandbox.images_api import Policy, decoded_image
from gptimage.sandbox.job import InputImage, Job
from gptimage.sandbox.wire import accepted
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_PATH: Final = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent)")
_TOP: Final = accepted("gemini", "body")
_CONFIG: Final = accepted("gemini", "config")
_PART: Final = accepted("gemini", "part")
_THINKING: Final = ("thinkingLevel", "thinkingBudget", "includeThoughts")
_TYPES: Final = ("image/png", "image/jpeg", "image/webp")
_THOUGHTS: Final = 180
"""Tokens of thinking; recorded replies have 180 and 240."""
_SIGNATURE: Final = "c2FuZGJveC10aG91Z2h0LXNpZ25hdHVyZQ=="
_UNSIGNED: Final = "skip_thought_signature_validator"
"""What Google lets clients send for a part that its models did not make."""
_OLDEST: Final = "gemini-2.5-flash-image"
"""It neither thinks nor signs, and its images are png."""
_LITE: Final = "gemini-3.1-flash-lite-image"
_LEVELS: Final = ("minimal", "low", "medium", "high")
_HELD_BACK: Final = (
    "The model output could not be generated. This output contains sensitive words that violate"
    " Google's Responsible AI practices. If you think this was an error, send feedback."
)
_STATUSES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    405: "UNIMPLEMENTED", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL",
    503: "UNAVAILABLE",
}  # fmt: skip
_QUOTA: Final = (
    "You exceeded your current quota, please check your plan and billing details. For more"
    " information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_PLAYED: Final[Mapping[str | None, tuple[int, str]]] = {
    "insufficient_quota": (429, _QUOTA),
    "billing_hard_limit_reached": (429, "Your project has exceeded its monthly spending cap."),
    "invalid_api_key": (400, "API key not valid. Please pass a valid API key."),
    "image_generation_failed": (500, "An internal error has occurred. Please retry."),
}
"""Google's words for failures the sandbox plays, by their code at OpenAI."""


class Gemini(Dialect):
    """The dialect of the Gemini Developer API."""

    name: ClassVar[Provider] = "gemini"
    prefix: ClassVar[str] = "/v1beta"
    images_only: ClassVar[bool] = True

    def models(self) -> Models:
        """Return the catalogue of what it draws with."""
        return Models.load().for_provider("gemini")

    def route(self, path: str) -> tuple[str, str | None]:
        """Return a path below the base URL, of either version of the API."""
        # google-genai 3.6 uses the stable version unless another is chosen.
        return path.partition("?")[0].removeprefix(self.prefix).removeprefix("/v1"), None

    def draws(self, path: str) -> bool:
        """Return whether a request to this path draws."""
        return _PATH.fullmatch(path) is not None

    def prompt(self, request: HttpRequest) -> object:
        """Return the text of the last message."""
        contents = request.body.get("contents")
        if not isinstance(contents, list) or not contents:
            return None
        parts = table(cast("list[object]", contents)[-1]).get("parts")
        texts = [table(part).get("text") for part in cast("list[object]", parts or [])]
        return "\n".join(text for text in texts if isinstance(text, str))

    def check_key(self, headers: Mapping[str, str], path: str) -> None:
        """Check the key: a header of Google's own, or a parameter of the query.

        Raises:
            ErrorReply: There is none, or a wrong one.
        """
        query = re.search(r"[?&]key=([^&]+)", path)
        key = headers.get("x-goog-api-key", "").strip() or (query[1] if query else "")
        if not key:
            raise refusal("gemini_key")
        if key == INVALID_KEY:
            raise ErrorReply("", code="invalid_api_key")

    def arrived(
        self, request: HttpRequest, deployment: str | None, query: Mapping[str, str], policy: Policy
    ) -> HttpRequest:
        """Return the request, its stream asked for as events.

        Raises:
            ErrorReply: A stream is asked for in another form.
        """
        if request.path.endswith(":streamGenerateContent") and query.get("alt") != "sse":
            raise ErrorReply("The sandbox streams with ?alt=sse, as google-genai does.")
        return request

    def accept(self, request: HttpRequest, policy: Policy) -> Job:
        """Return the job a request asks for.

        Raises:
            ErrorReply: A rule is broken.
        """
        found = _PATH.fullmatch(request.path)
        model, method = found.groups() if found else ("", "")
        spec = _alive(model, policy)
        body = _Object(request.body, "").only(*_TOP)
        config = body.child("generationConfig").only(*_CONFIG)
        image = config.child("imageConfig").only("aspectRatio", "imageSize")
        thinking = config.child("thinkingConfig").only(*_THINKING)
        _check_config(body, config, thinking, spec)
        turns = body.objects("contents")
        if not turns:
            raise ErrorReply("* GenerateContentRequest.contents: contents is not specified\n")
        asked, given, drawn = _read_turns(turns, spec)
        if not asked.strip():
            raise ErrorReply("Unable to submit request because it must have a text parameter.")
        if len(given) > spec.max_inputs:
            raise ErrorReply(f"The number of input images must be at most {spec.max_inputs}.")
        inputs = given or drawn[-1:]
        width, height = _size(image, spec, inputs)
        return Job(
            operation="edit" if inputs else "generation",
            spec=spec,
            prompt=asked,
            width=width,
            height=height,
            quality="medium",
            format="png" if model == _OLDEST else "jpeg",
            compression=90,
            stream=method == "streamGenerateContent",
            inputs=inputs,
            draw=policy.draw,
            thoughts=thinking.values.get("includeThoughts") is True,
        )

    def whole(self, job: Job, models: Models, created: int, keep: Keep) -> bytes:
        """Return the JSON body with the image of a job, after the thoughts that were asked for."""
        return json.dumps(_reply(job, created, _parts(job), "STOP")).encode()

    def events(self, job: Job, models: Models, now: Callable[[], int]) -> Iterator[ServerEvent]:
        """Yield each part on its own, as it comes; the last event has the usage."""
        for part in _parts(job):
            begun = _reply(job, now(), [part], None)
            read = table(begun["usageMetadata"])  # what is written is counted at the end alone
            begun["usageMetadata"] = {"promptTokenCount": read["promptTokenCount"]}
            yield _event(begun)
        yield _event(_reply(job, now(), [{"text": ""}], "STOP"))

    def empty(self, created: int) -> bytes:
        """Return a success without an image."""
        return json.dumps({"candidates": [{"index": 0, "finishReason": "NO_IMAGE"}]}).encode()

    def refuse(self, error: ErrorReply, request_id: str) -> HttpReply:
        """Return the reply for a refusal; one of the safety system is a success without images."""
        if error.error["code"] == "moderation_blocked":
            return HttpReply(status=200, headers=JSON, body=json.dumps(_blocked(error)).encode())
        document = {"error": _google(error)}
        headers = {**JSON, "content-type": "application/json; charset=UTF-8"}
        return HttpReply(
            status=_status(error), headers=headers, body=json.dumps(document, indent=2).encode()
        )

    def late(self, error: ErrorReply, request_id: str) -> ServerEvent:
        """Return a refusal after a stream has begun."""
        return ServerEvent(data=b"".join(bytes(self.refuse(error, request_id).body).splitlines()))

    def head(self, request_id: str, started: float) -> dict[str, str]:
        """Return the headers of every reply; Google names the response in its body alone."""
        return {"x-gemini-service-tier": "standard"}

    def look_up(self, request: HttpRequest, policy: Policy) -> dict[str, object]:
        """Return the models, or one of them.

        Raises:
            ErrorReply: It has nothing under this path.
        """
        if request.method == "GET" and request.path == "/models":
            live = (each for each in policy.models if each.state(policy.today) != "shut_down")
            return {"models": [_model(each) for each in live]}
        name = request.path.removeprefix("/models/")
        if request.method == "GET" and "/" not in name:
            return _model(_alive(name, policy))
        raise ErrorReply("Requested entity was not found.", status=404)


@frozen
class _Object:
    """A JSON object of a request: Google takes its names in both spellings, and no others.

    Attributes:
        values: The values, under their names in camel case.
        path: Where it is, as Google's errors say it.
    """

    values: Mapping[str, object]
    path: str

    def only(self, *known: str) -> _Object:
        """Return it with names in camel case; refuse those that are not known."""
        read: dict[str, object] = {}
        for name, value in self.values.items():
            camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
            if camel not in known:
                at = f" at '{self.path}'" if self.path else ""
                param = self.path or name[:100]
                raise refusal("gemini_name", param, name=name[:100], place=at)
            read[camel] = value
        return _Object(read, self.path)

    def child(self, name: str) -> _Object:
        """Return an object inside; an empty one when it was left out."""
        value, path = self.values.get(name), self.inside(name)
        if value is None or isinstance(value, dict):
            return _Object(table(cast("object", value)), path)
        raise ErrorReply(f"Invalid value at '{path}', expected an object", param=path)

    def objects(self, name: str) -> list[_Object]:
        """Return the objects of an array inside; one object stands for an array of one."""
        value, path = self.values.get(name), self.inside(name)
        listed = cast("list[object]", value if isinstance(value, list) else [value] * bool(value))
        if not all(isinstance(each, dict) for each in listed):
            raise ErrorReply(f"Invalid value at '{path}', expected objects", param=path)
        return [_Object(table(each), f"{path}[{index}]") for index, each in enumerate(listed)]

    def inside(self, name: str) -> str:
        """Return the path of a field, in Google's spelling."""
        snake = re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)
        return f"{self.path}.{snake}" if self.path else snake

    def text(self, name: str) -> str | None:
        """Return a string; None when left out."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            path = self.inside(name)
            raise ErrorReply(f"Invalid value at '{path}' (TYPE_STRING)", param=path)
        return value


def _alive(model: str, policy: Policy) -> ModelSpec:
    spec = policy.models.get(model)
    if spec is None or spec.state(policy.today) == "shut_down":
        raise refusal("gemini_model", model=model[:100])
    return spec


def _check_config(body: _Object, config: _Object, thinking: _Object, spec: ModelSpec) -> None:
    """Refuse what its image models are known not to have."""
    if config.values.get("candidateCount") not in (None, 1):
        raise ErrorReply("Multiple candidates is not enabled for this model")
    wanted = config.values.get("responseModalities") or ["TEXT", "IMAGE"]
    named = {str(each).upper() for each in cast("list[object]", wanted)}
    if not named <= {"TEXT", "IMAGE"}:
        raise refusal("gemini_modalities", listed=", ".join(sorted(named)).lower())
    if "IMAGE" not in named:
        raise ErrorReply("The sandbox draws images: responseModalities must have IMAGE.")
    for name in ("responseMimeType", "responseSchema", "responseJsonSchema"):
        if config.values.get(name):
            raise ErrorReply(f"JSON mode is not enabled for models/{spec.id}")
    for tool in body.objects("tools"):
        if "functionDeclarations" in tool.values or "function_declarations" in tool.values:
            raise ErrorReply(f"Function calling is not enabled for models/{spec.id}")
    level = (thinking.text("thinkingLevel") or "").lower()
    levels = {_LITE: ("minimal", "high"), _OLDEST: ()}.get(spec.id, _LEVELS)
    if level and level not in levels:
        raise ErrorReply(f"Thinking level {level.upper()} is not supported for this model.")


def _read_turns(
    turns: list[_Object], spec: ModelSpec
) -> tuple[str, tuple[InputImage, ...], tuple[InputImage, ...]]:
    """Return the last message's text and images, and the images the model drew before."""
    asked: list[str] = []
    given: list[InputImage] = []
    drawn: list[InputImage] = []
    for number, raw in enumerate(turns):
        turn = raw.only("role", "parts")
        role = turn.text("role") or "user"
        if role not in ("user", "model"):
            raise ErrorReply("Please use a valid role: user, model.")
        last = number == len(turns) - 1
        if last and role != "user":
            raise ErrorReply("Please ensure that the last message is one of the user.")
        for index, part in enumerate(turn.objects("parts")):
            read = part.only(*_PART)
            if "inlineData" in read.values:
                image = _inline(read.child("inlineData"))
                if role == "user":
                    given += [image] if last else []
                else:
                    _check_signed(read, spec, number, index)
                    drawn.append(image)
            elif "fileData" in read.values:
                raise ErrorReply("The sandbox has no files of Gemini: send inlineData.")
            elif last and (text := read.text("text")):
                asked.append(text)
    return "\n".join(asked), tuple(given), tuple(drawn)


def _check_signed(part: _Object, spec: ModelSpec, turn: int, index: int) -> None:
    """What the model drew comes back as it went out, with its signature (from Gemini 3 on)."""
    signature = part.text("thoughtSignature")
    if signature not in (None, "", _SIGNATURE, _UNSIGNED):
        raise ErrorReply("Corrupted thought signature.")
    if spec.id != _OLDEST and not signature and not part.values.get("thought"):
        raise refusal("gemini_signature", turn=turn + 1, part=index + 1)


def _inline(blob: _Object) -> InputImage:
    read = blob.only("mimeType", "data", "displayName")
    kind, data = read.text("mimeType") or "", read.text("data") or ""
    if kind not in _TYPES:
        raise ErrorReply(f"Unsupported MIME type: {kind[:100]}")
    try:
        # Both alphabets are read, as in any JSON of protocol buffers; google-genai sends the
        # one for addresses.
        decoded = base64.b64decode(data.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        path = read.inside("data")
        raise ErrorReply(f"Invalid value at '{path}' (TYPE_BYTES), Base64", param=path) from error
    if (image := decoded_image(decoded, kind)) is None:
        raise ErrorReply("Unable to process input image. Please retry.")
    return image


def _size(image: _Object, spec: ModelSpec, inputs: tuple[InputImage, ...]) -> tuple[int, int]:
    """Return the pixels of a ratio and a tier; without a ratio, those of the first input."""
    sizes = {name: size for size, name in spec.sizes.named.items()}
    ratios = list(dict.fromkeys(ratio for ratio, _ in sizes))
    tiers = list(dict.fromkeys(tier for _, tier in sizes))
    ratio, tier = image.text("aspectRatio"), image.text("imageSize")
    if ratio is not None and ratio not in ratios:
        raise ErrorReply(f"aspect_ratio must be one of {', '.join(ratios)}")
    # With one tier alone the field is not there; a prober of the lite model got 400 for any value.
    if tier is not None and (tier not in tiers or len(tiers) == 1):
        raise ErrorReply(f"image_size {tier[:20]} is not supported for this model")
    tier = tier or ("1K" if "1K" in tiers else tiers[0])
    if ratio is None:
        shape = math.log(inputs[0].width / inputs[0].height) if inputs else 0.0
        ratio = min(ratios, key=lambda each: abs(math.log(_quotient(each)) - shape))
    return sizes[ratio, tier]


def _quotient(ratio: str) -> float:
    across, _, down = ratio.partition(":")
    return float(across) / float(down)


def _parts(job: Job) -> list[dict[str, object]]:
    """Return the parts of a reply: thoughts, where asked for, and then the image."""
    final = _blob(drawing.paint(job), job)
    if job.spec.id == _OLDEST:
        return [final]
    signed = {**final, "thoughtSignature": _SIGNATURE}
    if not job.thoughts:
        return [signed]
    early = _blob(next(iter(drawing.stages(evolve(job, partials=1)))), job)
    words: dict[str, object] = {"text": "The user wants an image. I draw it.", "thought": True}
    return [words, {**early, "thought": True}, signed]


def _blob(data: bytes, job: Job) -> dict[str, object]:
    text = b64encode(data).decode("ascii")
    return {"inlineData": {"mimeType": f"image/{job.format}", "data": text}}


def _reply(
    job: Job, created: int, parts: list[dict[str, object]], finish: str | None
) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(job),
        "modelVersion": job.spec.id,
        "responseId": f"sandbox-{created}",
    }


def _usage(job: Job) -> dict[str, object]:
    text = math.ceil(len(job.prompt) / 4)
    each = job.spec.input_image_tokens or 258
    seen = each * len(job.inputs)
    image = job.spec.output_tokens(job.width, job.height, None) or 0
    thoughts = 0 if job.spec.id == _OLDEST else _THOUGHTS
    details = [{"modality": "TEXT", "tokenCount": text}]
    details += [{"modality": "IMAGE", "tokenCount": seen}] if seen else []
    usage: dict[str, object] = {
        "promptTokenCount": text + seen,
        "candidatesTokenCount": image,
        "totalTokenCount": text + seen + image + thoughts,
        "promptTokensDetails": details,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": image}],
    }
    return {**usage, "thoughtsTokenCount": thoughts} if thoughts else usage


def _event(value: dict[str, object]) -> ServerEvent:
    return ServerEvent(data=json.dumps(value).encode())


def _blocked(error: ErrorReply) -> dict[str, object]:
    """Return the reply of the safety system: to the prompt, or in place of the image."""
    counted: dict[str, object] = {"promptTokenCount": 12, "totalTokenCount": 12}
    if table(error.error.get("moderation_details")).get("moderation_stage") != "output":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": counted}
    held: dict[str, object] = {
        "content": {"role": "model"}, "finishReason": "IMAGE_SAFETY", "finishMessage": _HELD_BACK,
        "index": 0,
    }  # fmt: skip
    thought = {"thoughtsTokenCount": _THOUGHTS, "totalTokenCount": 12 + _THOUGHTS}
    return {"candidates": [held], "usageMetadata": {**counted, **thought}}


def _status(error: ErrorReply) -> int:
    return _PLAYED.get(cast("str | None", error.error["code"]), (error.status, ""))[0]


def _google(error: ErrorReply) -> dict[str, object]:
    """Return Google's error object."""
    code, status = cast("str | None", error.error["code"]), _status(error)
    message = _PLAYED.get(code, (0, str(error.error["message"])))[1]
    details: list[dict[str, Any]] = []
    if code == "rate_limit_exceeded":
        wait = error.headers.get("retry-after", "1")
        message = f"{_QUOTA} Please retry in {wait}s."
        details = [{"@type": _type("RetryInfo"), "retryDelay": f"{wait}s"}]
    elif code == "invalid_api_key":
        details = [{"@type": _type("ErrorInfo"), "reason": "API_KEY_INVALID"}]
    elif status == 503:
        message = "The model is overloaded. Please try again later."
    elif status == 403 and "organization" in message:
        message = "The caller does not have permission"
    elif error.error["param"]:
        violation = {"field": error.error["param"], "description": message}
        details = [{"@type": _type("BadRequest"), "fieldViolations": [violation]}]
    found: dict[str, object] = {"code": status, "message": message}
    found["status"] = _STATUSES.get(status, "UNKNOWN")
    return {**found, "details": details} if details else found


def _type(name: str) -> str:
    return f"type.googleapis.com/google.rpc.{name}"


def _model(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": f"models/{spec.id}",
        "version": "001",
        "displayName": spec.role,
        "inputTokenLimit": 32_768,
        "outputTokenLimit": 32_768,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
    }
