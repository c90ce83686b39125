"""From requests to files of a batch job: checked, their images uploaded, and written down."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from typing import IO, Final

from attrs import frozen

from gptimage._internal.json import canonical
from gptimage.batch.state import Part, State
from gptimage.batch.steps import Steps, upload
from gptimage.batch.uploads import RequestLine, Uploads, writing
from gptimage.bulk.items import RequestInput, planned
from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan
from gptimage.engine.save import check_store
from gptimage.errors import InvalidRequestError
from gptimage.providers.openai import batches
from gptimage.providers.parameters import check_batch
from gptimage.transport.http import FilePart


MARK: Final = "gptimage"
"""The entry of a batch's metadata by which it is found again."""


class BatchWarning(UserWarning):
    """Nothing is submitted yet, and something about the batch should be known."""


_PAIRS, _NAME, _TEXT = 15, 64, 512
"""The service takes 16 pairs of metadata, and one is ours."""

_PAUSE_EVERY: Final = 256
"""After so many requests an async driver looks up."""


@frozen(kw_only=True)
class FileLimits:
    """The limits of one batch.

    Attributes:
        lines: Requests.
        size: Bytes of its file.
    """

    lines: int = batches.MAX_LINES
    size: int = batches.MAX_BYTES

    def __attrs_post_init__(self) -> None:
        """Refuse what the service would refuse."""
        for field, value, most in (
            ("max_lines", self.lines, batches.MAX_LINES),
            ("max_bytes", self.size, batches.MAX_BYTES),
        ):
            if type(value) is not int or not 1 <= value <= most:
                raise InvalidRequestError(
                    f"{field} is 1 to {most:,}", field=field, value=value, allowed=f"1 to {most:,}"
                )


@frozen(kw_only=True)
class PreparedRequest:
    """A request that was checked.

    Attributes:
        plan: The request, at the prices of a batch.
        tags: Tags for the store.
    """

    plan: Plan
    tags: tuple[str, ...]

    @property
    def size(self) -> str | None:
        """The exact pixels requested, where a larger size is drawn."""
        return None if self.plan.exact is None else "x".join(map(str, self.plan.exact))

    @property
    def identity(self) -> bytes:
        """The same for the same request, as far as its images are concerned."""
        return canonical([self.plan.key, self.size, self.plan.request.template, list(self.tags)])


def prepare(
    core: ClientConfig, state: State, requests: Iterable[RequestInput], limits: FileLimits
) -> Steps[None]:
    """Check and write down every request, and upload its images. Costs nothing yet.

    Raises:
        InvalidRequestError: A request is wrong; nothing was submitted.
    """
    try:
        yield from _prepare(core, state, requests, limits)
    except BaseException:
        state.discard()
        raise


def digest_of(core: ClientConfig, requests: Iterable[RequestInput]) -> str:
    """Return the digest of requests, to see whether a state file belongs to them."""
    digest = hashlib.sha256()
    for number, request in enumerate(requests):
        digest.update(_check_request(core, request, number).identity)
    return digest.hexdigest()


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse what the service would refuse after everything was uploaded.

    Raises:
        InvalidRequestError: There is too much of it, or it is no text.
    """
    fits = len(metadata) <= _PAIRS and MARK not in metadata
    for name, text in metadata.items():
        is_text = isinstance(name, str) and isinstance(text, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        fits = fits and is_text and len(name) <= _NAME and len(text) <= _TEXT
    if not fits:
        raise InvalidRequestError(
            f"metadata is up to {_PAIRS} short texts by name",
            field="metadata",
            value=dict(metadata),
            allowed=f"names up to {_NAME} letters but not {MARK!r}, texts up to {_TEXT}",
        )


def _prepare(
    core: ClientConfig, state: State, requests: Iterable[RequestInput], limits: FileLimits
) -> Steps[None]:
    check_store(core.store)
    state.save()
    uploads, digest = Uploads(state), hashlib.sha256()
    models = set[str]()
    with writing(state) as file:
        for number, request in enumerate(requests):
            if number % _PAUSE_EVERY == 0:
                yield 0.0
            ready = _check_request(core, request, number)
            digest.update(ready.identity)
            if (model := ready.plan.request.model) not in models:
                models.add(model)
                _warn_of_no_batch(core, model)
            body = yield from _body(core, ready, uploads)
            _write(file, state, number, ready, body, limits)
    if not state.parts:
        raise InvalidRequestError("a batch needs at least one request", field="requests", value=())
    state.ready, state.digest = True, digest.hexdigest()
    state.save()
    uploads.forget()


def _check_request(core: ClientConfig, request: RequestInput, number: int) -> PreparedRequest:
    """Check one request."""
    try:
        single, tags = planned(core, request)
        return PreparedRequest(plan=_batched(core, single), tags=_checked(tags))
    except InvalidRequestError as error:
        error.args = (f"request {number}: {error}",)
        raise


def _batched(core: ClientConfig, single: Plan) -> Plan:
    """Return the plan with the prices of a batch."""
    request = single.request
    if request.stream or request.partial_images is not None:
        raise InvalidRequestError(
            "a batch cannot stream", field="partial_images", value=request.partial_images
        )
    if request.keeps_outside:
        raise InvalidRequestError(
            "a batch may be read where its input images are not: give the results and the images "
            "to gptimage.image.keep_outside()",
            field="outside",
            value="keep",
            allowed="leave it out",
        )
    found = core.planned(request, core.clock().date(), batch=True)
    check_batch(found.provider)
    if found.wire.provider:
        raise InvalidRequestError(
            f"a batch goes to one provider: make a client with provider={found.wire.provider!r} "
            "for it; nothing was sent",
            field="model",
            value=request.model,
        )
    return found


def _warn_of_no_batch(core: ClientConfig, model: str) -> None:
    """Say before its first image is uploaded that it will fail: the service says so later.

    No refusal: that 2.6 has no batches is what others write, and may change any day.
    """
    spec = core.models.get(model)
    if spec is not None and spec.batch == "no":
        instead = f"; {core.models.default} has them" if model != core.models.default else ""
        sentence = f"{model} has no batches as far as is known, so this one will fail{instead}"
        warnings.warn(BatchWarning(sentence), stacklevel=2)


def _checked(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tags, refused now if they make no sense: later they would cost an image."""
    if not tags:
        return ()
    from gptimage.store.save import check_tags

    return check_tags(tags)


def _body(core: ClientConfig, ready: PreparedRequest, uploads: Uploads) -> Steps[dict[str, object]]:
    """Return the body of a line, once its images are uploaded."""
    wire, ids = ready.plan.wire, list[str]()
    for part in batches.images(wire):
        file_id = yield from _image(core, part, uploads)
        ids.append(file_id)
    return batches.body_of(wire, ids)


def _image(core: ClientConfig, part: FilePart, uploads: Uploads) -> Steps[str]:
    digest = hashlib.sha256(part.data).hexdigest()
    file_id = uploads.get(digest)
    if file_id is None:
        file_id = yield from upload(core, batches.upload(part, "vision"))
        uploads.add(digest, file_id)
    return file_id


def _write(
    file: IO[bytes],
    state: State,
    number: int,
    ready: PreparedRequest,
    body: dict[str, object],
    limits: FileLimits,
) -> None:
    """Write a request down as one of the part it belongs to."""
    custom_id, plan = str(number), ready.plan
    size = len(batches.line(custom_id, plan.wire.path, body))
    if size > limits.size:
        raise InvalidRequestError(
            f"request {number}: its {size:,} bytes are too many for a batch",
            field="requests",
            allowed=f"{limits.size:,} bytes",
        )
    place = place_of(state.parts, plan.wire.path, plan.request.model, size, limits)
    if place == len(state.parts):
        part = Part(path=plan.wire.path, model=plan.request.model, start=file.tell())
        state.parts.append(part)
    state.parts[place].add(
        size,
        plan.request.effective_n,
        plan.estimate.usd if plan.estimate else None,
        plan.max_cost,
    )
    line = RequestLine(
        custom_id=custom_id,
        part=place,
        body=body,
        size=ready.size,
        template=plan.request.template,
        tags=ready.tags,
    )
    file.write(line.line())


def place_of(parts: list[Part], path: str, model: str, size: int, limits: FileLimits) -> int:
    """Return the number of the part a request goes to: one endpoint and one model each.

    Args:
        parts: What there is; a number past its end means a new one.
        path: The request's endpoint.
        model: The request's model.
        size: Bytes of its line.
        limits: How large a part may be.
    """
    for number in reversed(range(len(parts))):
        part = parts[number]
        if (part.path, part.model) == (path, model):
            fits = part.lines < limits.lines and part.size + size <= limits.size
            return number if fits else len(parts)
    return len(parts)
