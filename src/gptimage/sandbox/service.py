"""OpenAI's image service, offline: a request in, a reply out, no key, no network, no cost."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Final, Literal, cast
from urllib.parse import parse_qsl

from attrs import evolve, field, frozen

from gptimage._internal.clock import Clock, in_utc
from gptimage._internal.keywords import (
    as_int,
    flag,
    function,
    one_of,
    refused,
    seconds,
    strict_class,
)
from gptimage._internal.keywords import clock as check_clock
from gptimage.errors import InvalidRequestError, OutcomeUnknownError
from gptimage.models.catalog import Models
from gptimage.sandbox import failures, models_files_api, replies
from gptimage.sandbox.azure_api import Azure
from gptimage.sandbox.batches_api import Batches
from gptimage.sandbox.compatible_api import XAI, OpenRouter, Together
from gptimage.sandbox.dialect import JSON, PROVIDERS, Dialect, Provider
from gptimage.sandbox.failures import Cut, ErrorReply, FailureRates, Fault, Scenario
from gptimage.sandbox.gemini_api import Gemini
from gptimage.sandbox.images_api import Policy
from gptimage.sandbox.responses_api import Responses
from gptimage.sandbox.uploads_api import PartUploads
from gptimage.sandbox.wire import as_sent
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import SANDBOX_URL


_CONTENT: Final = ("files", "content")
_REMEMBERED: Final = 1000
_REMEMBERED_BYTES: Final = 512 * 1024 * 1024
_IMAGES: Final = 100
"""How many images that a reply names by address are kept."""
_METHODS: Final = (
    (re.compile(r"/images/(generations|edits)|/content_provenance_checks|/responses"), "POST"),
    (re.compile(r"/responses/input_tokens|/conversations|/uploads(/[^/]+/[a-z]+)?"), "POST"),
    (re.compile(r"/conversations/[^/]+/items/[^/]+"), "GET, DELETE"),
    (re.compile(r"/conversations/[^/]+/items"), "GET, POST"),
    (re.compile(r"/conversations/[^/]+"), "GET, POST, DELETE"),
    (re.compile(r"/(files|batches)"), "GET, POST"),
    (re.compile(r"/(responses|files)/[^/]+"), "GET, DELETE"),
    (re.compile(r"/models(/.+)?|/batches/[^/]+|/responses/[^/]+/input_items"), "GET"),
    (re.compile(r"/(batches|responses)/[^/]+/cancel"), "POST"),
)
"""Which methods each path has."""
_SHOWN: Final = 32_000
"""Characters of a text that are shown: a prompt is no longer."""
Drift = Literal["repaint", "tint", "shift"]
"""How an edit changes what it was not to change."""
CONTROL: Final = "/__sandbox/"
"""Below this path are the sandbox's own endpoints, which need no key."""
VARIATIONS: Final = "/images/variations"
"""Its endpoint is gone: 404 with an empty body, before a key is looked at (observed 2026-09-15)."""


@frozen(kw_only=True)
class SandboxReply:
    """The reply to send over HTTP or as a transport.

    Attributes:
        reply: The whole reply, or the head of a stream.
        events: The events of a stream; None for a plain reply. It raises `Cut` where the
            connection is to break.
        pause: Seconds to wait before a plain reply, or before each event.
        ends: ``whole``, ``cut`` (break off inside the body) or ``never`` (send nothing).
    """

    reply: HttpReply
    events: Iterator[ServerEvent] | None = field(default=None, repr=False)
    pause: float = 0.0
    ends: Literal["whole", "cut", "never"] = "whole"


@strict_class
class Sandbox:
    """The image endpoints of OpenAI's API, with images drawn from the prompt.

    Thread-safe. One instance may serve any number of doors at once.

    Args:
        provider: Whose dialect it speaks: paths, parameters, replies and refusals.
        clock: Tells the time (UTC): which models have been shut down, and when things were
            made; a client that makes its own sandbox hands its clock on.
        today: Only the date, where that is enough; the clock's when left out.
        latency: Seconds each drawing takes before its reply, as a model would.
        models: The catalogue; the provider's shipped one when left out.
        previews: Grant features that are in preview, or undocumented for a model.
        svg_model_selection: Let (and make) callers choose the author model of an SVG.
        draw: ``scene``, or ``plain`` for a few flat colours in a tenth of the time.
        drift: How an edit with a mask changes what the mask protects, as models do: any of
            ``repaint`` (grain of 1 to 64 levels), ``tint`` (a share of another colour) and
            ``shift`` (pixels to the right), such as ``{"repaint": 12, "shift": 3}``.
        failures: How often a request that draws fails, by scenario: ``{"cut": 0.02}`` breaks two
            connections in a hundred.
        seed: Makes the same requests fail each time, as long as they arrive in the same order.

    Attributes:
        latency: Seconds each drawing takes; may be changed at any time.
        batches: Batches: how much they do at a time, and when they expire.
        dialect: Its provider's paths, bodies and refusals.
        address: Where it listens, without a path: replies that name images by address use it.
    """

    def __init__(
        self,
        *,
        provider: Provider = "openai",
        clock: Clock | None = None,
        today: Callable[[], date] | None = None,
        latency: float = 0.0,
        models: Models | None = None,
        previews: bool = False,
        svg_model_selection: bool = False,
        draw: Literal["scene", "plain"] = "scene",
        drift: Mapping[Drift, float] | None = None,
        failures: Mapping[Scenario, float] | None = None,
        seed: int | None = None,
    ) -> None:
        seconds("latency", latency, zero=True)
        flag("previews", previews)
        flag("svg_model_selection", svg_model_selection)
        if draw not in ("scene", "plain"):  # a list has no hash
            raise refused("draw", draw, "'scene' or 'plain'")
        if drift is not None:
            _check_drift(drift)
        if today is not None:
            function("today", today, "a function that gives a date, such as date.today")
        if models is not None:
            one_of("models", models, Models, "a catalogue, such as Models.load()")
        if failures is not None:
            one_of("failures", failures, Mapping, 'rates by scenario, such as {"cut": 0.02}')
        seed = as_int(seed)
        if seed is not None:
            one_of("seed", seed, int, "a whole number")
            if isinstance(seed, bool):
                raise refused("seed", seed, "a whole number")
        if clock is not None:
            check_clock("clock", clock)
        self.dialect: Dialect = _dialect(provider)
        self.address: str = SANDBOX_URL.removesuffix("/v1")
        self.latency: float = latency
        now = in_utc(clock)
        self._today: Callable[[], date] = (lambda: now().date()) if today is None else today
        self._seconds: Callable[[], int] = lambda: int(now().timestamp())
        self._models = self.dialect.models() if models is None else models
        self._previews = previews
        self._svg_model_selection = svg_model_selection
        self._draws: Literal["scene", "plain"] = draw
        self._drift = dict[str, float]((drift or {}).items())
        self._uploads = models_files_api.Uploads(self._seconds)
        self._part_uploads = PartUploads(self._uploads, self._seconds)
        self._responses = Responses(self._seconds)
        batches = Batches(self._uploads, self._batched, self._serves, now=self._seconds)
        self.batches: Batches = batches
        self._seen: deque[tuple[HttpRequest, int]] = deque()
        self._seen_bytes = 0
        self._kept: deque[tuple[str, bytes]] = deque(maxlen=_IMAGES)
        self._faults: deque[Fault] = deque()
        self._rates = FailureRates(dict[str, float]((failures or {}).items()), seed)
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[HttpRequest]:
        """The last requests as they arrived, oldest first: 1000 of them, and 512 MiB at most."""
        with self._lock:
            return [request for request, _ in self._seen]

    def fail_next(
        self, failure: Scenario | HttpReply, *, times: int = 1, retry_after: float = 1.0
    ) -> None:
        """Make the next calls fail; scheduled failures are used up in order.

        Args:
            failure: A scenario such as ``"moderation"``, or the reply to give.
            times: How many calls fail this way.
            retry_after: Seconds a rate-limited caller has to wait.

        Raises:
            InvalidRequestError: There is no such scenario.
        """
        fault = failures.planned(failure, retry_after)
        with self._lock:
            self._faults.extend([fault] * times)

    def answer_next(self, text: str, *, times: int = 1) -> None:
        """Reply with this text to the next questions: turns of the Responses API without images.

        Args:
            text: What the chat model is to write; else it says yes to every image it is shown.
            times: How many questions get it.
        """
        self._responses.answer_next(text, times)

    def send(self, request: HttpRequest) -> HttpReply:
        """Return the whole reply; a stream comes as the text of its events.

        Raises:
            OutcomeUnknownError: A scenario broke the connection.
        """
        found = self.respond(request)
        if found.events is None:
            time.sleep(found.pause)
            if found.ends != "whole":
                raise broken(found)
            return found.reply
        events: list[ServerEvent] = []
        try:
            for event in found.events:
                time.sleep(found.pause)
                events.append(event)
        except Cut as error:
            raise broken(found) from error
        return with_events(found.reply, events)

    def respond(self, request: HttpRequest) -> SandboxReply:
        """Return the reply for a server or a transport to send; `send` also waits for it.

        Raises:
            TypeError: A value of the body has no JSON form.
            ValueError: A number of the body has no JSON form.
        """
        return self.handle(as_sent(request))

    def handle(self, request: HttpRequest) -> SandboxReply:
        """Reply to a request that is as it came from the wire (form values all text)."""
        started = time.monotonic()
        query = dict(parse_qsl(request.path.partition("?")[2], keep_blank_values=True))
        body = query if request.method == "GET" and not request.body else request.body
        path, deployment = self.dialect.route(request.path)
        if path.startswith(CONTROL):
            return SandboxReply(reply=self._control(request.method, path))
        request = evolve(request, path=path, body=body)
        request_id = f"req_{uuid.uuid4().hex}"
        with self._lock:
            self._remember(request)
            fault = self._faults.popleft() if self._faults else None
        if path == VARIATIONS and not self.dialect.images_only:
            return SandboxReply(reply=HttpReply(status=404))
        try:
            request = self.dialect.arrived(request, deployment, query, self._policy())
            found = self._reply(request, request_id, fault)
        except ErrorReply as refusal:
            found = SandboxReply(reply=self.dialect.refuse(refusal, request_id))
        headers = {**self.dialect.head(request_id, started), **found.reply.headers}
        return evolve(found, reply=evolve(found.reply, headers=headers))

    def _reply(self, request: HttpRequest, request_id: str, fault: Fault | None) -> SandboxReply:
        fault = fault or self._failure(request)
        if not self.dialect.images_only:
            turn = self._responses.handle(
                request, request.path[1:].split("/"), request_id, self._policy(), fault=fault,
                latency=self.latency,
            )  # fmt: skip
            if turn is not None:
                ends = "whole" if turn.events else _ending(turn.fault)
                return SandboxReply(
                    reply=turn.reply, events=turn.events, pause=turn.pause, ends=ends
                )
        if fault:
            reply = failures.at_once(fault, request.body, "gpt-image-2.5-flare")
            if reply is not None:
                return SandboxReply(reply=reply)
        if request.method == "POST" and self.dialect.draws(request.path):
            return self._draw(request, request_id, fault)
        return SandboxReply(reply=self._file(request), ends=_ending(fault))

    def _failure(self, request: HttpRequest) -> Fault | None:
        """Return the failure a request asks for, or the one that chance has for it."""
        found = failures.requested(
            request.headers.get("x-sandbox-fail"), self.dialect.prompt(request)
        )
        if isinstance(found, Fault):
            return found
        # One number is drawn for each request that draws, in the order in which they arrive: so
        # the same seed fails the same requests, however many look-ups lie between them.
        draws = request.method == "POST" and (
            request.path == "/responses" or self.dialect.draws(request.path)
        )
        with self._lock:
            if found is not None:
                return self._rates.pick(found)
            return self._rates.next() if draws and self._rates else None

    def _control(self, method: str, path: str) -> HttpReply:
        """Reply for the sandbox's own endpoints."""
        if (method, path) == ("GET", f"{CONTROL}requests"):
            return _json({"object": "list", "data": [summary(each) for each in self.requests]})
        if (method, path) == ("DELETE", f"{CONTROL}requests"):
            with self._lock:
                self._seen.clear()
                self._seen_bytes = 0
            return _json({"object": "list", "data": []})
        name = path.removeprefix(f"{CONTROL}images/")
        with self._lock:
            kept = dict(self._kept).get(name)
        if method == "GET" and kept is not None:
            kind = "image/png" if name.endswith(".png") else "image/jpeg"
            return HttpReply(status=200, headers={"content-type": kind}, body=kept)
        error = ErrorReply(f"The sandbox has only GET and DELETE {CONTROL}requests.", status=404)
        return HttpReply(status=404, headers=JSON, body=error.body(""))

    def _remember(self, request: HttpRequest) -> None:
        """Put a request into the log, and drop the oldest ones beyond its limits."""
        self._seen.append((request, _weight(request)))
        self._seen_bytes += self._seen[-1][1]
        while len(self._seen) > _REMEMBERED or (
            len(self._seen) > 1 and self._seen_bytes > _REMEMBERED_BYTES
        ):
            self._seen_bytes -= self._seen.popleft()[1]

    def _keep(self, data: bytes, extension: str) -> str:
        """Keep an image, and return the address that serves it."""
        name = f"{uuid.uuid4().hex}.{extension}"
        with self._lock:
            self._kept.append((name, data))
        return f"{self.address}{CONTROL}images/{name}"

    def _batched(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request of a batch."""
        request_id = f"req_{uuid.uuid4().hex}"
        try:
            return self._reply(request, request_id, None).reply
        except ErrorReply as refusal:
            return HttpReply(status=refusal.status, body=refusal.body(request_id))

    def _serves(self, model: str) -> bool:
        """Return whether a model is alive, and one that the Batch API has."""
        spec = self._models.get(model)
        return spec is not None and spec.state(self._today()) != "shut_down" and spec.batch != "no"

    def _file(self, request: HttpRequest) -> HttpReply:
        """Return a file's content, or else JSON."""
        if self.dialect.images_only:
            return _json(self.dialect.look_up(request, self._policy()))
        parts = request.path[1:].split("/")
        if request.method == "GET" and len(parts) == 3 and (parts[0], parts[2]) == _CONTENT:
            headers = {"content-type": "application/octet-stream"}
            return HttpReply(status=200, headers=headers, body=self._uploads.content(parts[1]))
        found = self.batches.handle(request, parts) or self._part_uploads.handle(request, parts)
        return _json(found or self._look_up(request))

    def _draw(self, request: HttpRequest, request_id: str, fault: Fault | None) -> SandboxReply:
        job = self.dialect.accept(request, self._policy())
        scenario = fault.scenario if fault else ""
        if job.stream and scenario not in {"timeout", "empty"}:
            late = _LATE.get(scenario)
            error = self.dialect.late(late(), request_id) if late else None
            events = self.dialect.events(job, self._models, self._seconds)
            head = HttpReply(
                status=200, headers={"content-type": "text/event-stream; charset=utf-8"}
            )
            pause = self.latency / (job.n * (job.partials + 1))
            if error or scenario == "cut":
                events = _interrupted(events, error, partial=job.partials > 0)
            return SandboxReply(reply=head, events=events, pause=pause)
        if scenario in _LATE:
            raise _LATE[scenario]()
        body, created = b"", self._seconds()
        if scenario == "empty":
            body = self.dialect.empty(created)
        elif scenario != "timeout":
            body = self.dialect.whole(job, self._models, created, self._keep)
        reply = HttpReply(status=200, headers=JSON, body=body)
        return SandboxReply(reply=reply, pause=self.latency, ends=_ending(fault))

    def _look_up(self, request: HttpRequest) -> dict[str, object]:
        """Return everything that is not drawn."""
        match request.method, *request.path[1:].split("/"):
            case ("GET", "models") | ("GET", "models", ""):
                return models_files_api.model_list(self._models, self._today())
            case "GET", "models", *name:
                return models_files_api.one_model("/".join(name), self._models, self._today())
            case ("GET", "files") | ("GET", "files", ""):
                return self._uploads.listed(request.body)
            case ("POST", "files") | ("POST", "files", ""):
                return self._uploads.add(request)
            case "GET", "files", str(id):
                return self._uploads.about(id)
            case "DELETE", "files", str(id):
                return self._uploads.delete(id)
            case "POST", "content_provenance_checks":
                return models_files_api.provenance(request, self._seconds())
            case _:
                raise _no_such(request)

    def _policy(self) -> Policy:
        return Policy(
            models=self._models,
            today=self._today(),
            previews=self._previews,
            svg_model_selection=self._svg_model_selection,
            uploads=self._uploads,
            draw=self._draws,
            drift=self._drift,
        )


def _dialect(provider: str) -> Dialect:
    for kind in (Dialect, Azure, Gemini, OpenRouter, Together, XAI):
        if kind.name == provider:
            return kind()
    raise InvalidRequestError(
        f"provider={provider!r}: the sandbox has {', '.join(PROVIDERS)}",
        field="provider",
        value=provider,
        allowed=PROVIDERS,
    )


def _check_drift(drift: object) -> None:
    most = {"repaint": 64, "tint": 1, "shift": 100}
    wanted = 'amounts such as {"repaint": 12, "tint": 0.3, "shift": 3}'
    one_of("drift", drift, Mapping, wanted)
    for name, value in cast("Mapping[str, object]", drift).items():
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
        if name not in most or not 0 < number <= most[name]:
            raise refused("drift", drift, wanted)


_LATE: Final[dict[str, Callable[[], ErrorReply]]] = {
    "moderation_output": lambda: failures.moderation("output"),
    "stream_error": lambda: failures.refusal("server"),
}


def broken(found: SandboxReply) -> OutcomeUnknownError:
    """Return the error of a client whose reply breaks off or never comes."""
    what = "timed out waiting for" if found.ends == "never" else "the connection broke during"
    return OutcomeUnknownError(
        f"{what} the sandbox's response, as requested",
        request_id=found.reply.request_id if found.ends != "never" else None,
    )


def with_events(reply: HttpReply, events: Iterable[ServerEvent]) -> HttpReply:
    """A stream's head and events as one reply; a plain reply, which has no events, unchanged."""
    body = b"".join(replies.encoded(event) for event in events)
    return evolve(reply, body=body) if body else reply


def _interrupted(
    events: Iterator[ServerEvent], error: ServerEvent | None, *, partial: bool
) -> Iterator[ServerEvent]:
    """Yield the first partial image, then an error event or the end of the connection."""
    first = next(events)
    if partial:
        yield first
    if error is None:
        raise Cut
    yield error


def _ending(fault: Fault | None) -> Literal["whole", "cut", "never"]:
    scenario = fault.scenario if fault else ""
    return "never" if scenario == "timeout" else "cut" if scenario == "cut" else "whole"


def _weight(request: HttpRequest) -> int:
    """Bytes a request keeps alive, near enough: its files and texts, among them data URLs."""
    return sum(len(part.data) for part in request.files) + _length(request.body)


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_length, cast("Mapping[str, object]", value).values()))
    if isinstance(value, list):
        return sum(map(_length, cast("list[object]", value)))
    return 0


def summary(request: HttpRequest) -> dict[str, object]:
    """Return what is in a request, without keys and without the bytes of its images."""
    from gptimage.secrets import scrub_value

    return {
        "method": request.method,
        "path": request.path,
        "headers": scrub_value({k: v for k, v in request.headers.items() if not _secret(k)}),
        "body": scrub_value(_shortened(request.body)),
        "files": [
            {
                "name": part.name,
                "filename": part.filename,
                "content_type": part.content_type,
                "bytes": len(part.data),
                "sha256": hashlib.sha256(part.data).hexdigest(),
            }
            for part in request.files
        ],
    }


def _secret(header: str) -> bool:
    return re.search(r"auth|key|token|secret|cookie|password", header, re.IGNORECASE) is not None


def _shortened(value: object) -> object:
    """Return a JSON value with the base64 of its images replaced by its length."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:40]}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {k: _shortened(v) for k, v in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [_shortened(each) for each in cast("list[object]", value)]
    return value


def _no_such(request: HttpRequest) -> ErrorReply:
    methods = (allow for pattern, allow in _METHODS if pattern.fullmatch(request.path))
    if allow := next(methods, None):
        found = failures.refusal("wrong_method", method=request.method, path=request.path)
        found.headers["allow"] = allow
        return found
    return ErrorReply(f"Invalid URL ({request.method} /v1{request.path[:200]})", status=404)


def _json(value: dict[str, object]) -> HttpReply:
    return HttpReply(status=200, headers=JSON, body=json.dumps(value).encode())
