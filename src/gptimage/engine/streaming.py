"""The pure core of streaming: events in, previews and one final result out.

A preview can never be taken for a final image: they have different types, and the
result is built only from events that say they are complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeVar

from attrs import evolve

from gptimage._internal.json import table
from gptimage.engine.parse import parse_response, priced
from gptimage.engine.plan import Plan
from gptimage.errors import ApiError, MalformedReplyError, OutcomeUnknownError
from gptimage.image.image import Image
from gptimage.models.pricing import may_have_cost
from gptimage.providers.openai.errors import error_from_event
from gptimage.providers.openai.images import StreamEvent, read_event
from gptimage.transport.base64_body import ParsedBody, image_of
from gptimage.transport.http import HttpReply, ServerEvent
from gptimage.transport.wrapped_body import items, merged
from gptimage.types.request import label_for
from gptimage.types.result import Completed, PartialImage, Result


LARGE: Final = 1_000_000
"""Bytes from which decoding an event leaves the event loop."""


T = TypeVar("T")


def _as_it_is(reply: HttpReply) -> tuple[HttpReply, Mapping[str, str]]:
    return reply, {}


class PreviewReader:
    """What the readers of all streams share: previews, what could not be read, a stream cut short.

    Args:
        plan: What was sent.
        head: Status and headers of the answer; its whole body if it is no event stream.
    """

    def __init__(self, plan: Plan, head: HttpReply) -> None:
        self._plan = plan
        self._head = head
        self._partials: list[PartialImage] = []
        self._notes: list[str] = []
        self._unread: list[bytes] = []
        self._took = False
        self.event: ServerEvent | None = None

    def take(self, event: ServerEvent) -> PartialImage | None:
        """Read one event; returns the preview in it, if any.

        Raises:
            ApiError: The service reports a failure; it carries the previews so far.
        """
        self._took = True
        preview = self._take(event)
        self.event = None
        return preview

    def _take(self, event: ServerEvent) -> PartialImage | None:
        raise NotImplementedError

    def _parsed(self, event: ServerEvent, parse: Callable[[ServerEvent], T]) -> T | None:
        """Return what an event says, or None for one that cannot be read, which is saved."""
        try:
            return parse(event)
        except ValueError:
            if event.data.strip() != b"[DONE]":
                self._notes.append("an event of the stream could not be read")
                self._unread.append(bytes(event.data))
            return None

    def _preview(self, read: Callable[[], bytes], index: int) -> PartialImage | None:
        try:
            image = Image.from_bytes(read())
        except ValueError as error:
            self._notes.append(f"preview {index} could not be read: {error}")
            return None
        made_by = label_for(self._plan.request, None)
        partial = PartialImage(image=evolve(image, made_by=made_by), index=index)
        self._partials.append(partial)
        return partial

    def _failed(self, error: ApiError, *, has_image: bool) -> None:
        if not has_image:
            raise priced(self._plan, error)
        self._notes.append(f"the stream reported an error after a finished image: {error}")

    def _is_stream(self) -> bool:
        is_stream = self._head.content_type == "text/event-stream" and not self._head.body
        return self._head.is_success and (is_stream or self._took)

    def _cut_short(self, broken: OutcomeUnknownError | None) -> OutcomeUnknownError:
        reason = str(broken) if broken else "the stream ended before the finished image"
        found = len(self._partials)
        previews = f" (previews in .partials: {found})" if found else ""
        cost = may_have_cost(self._plan.max_cost)
        message = f"{reason}: {cost}; look at your usage page before asking again{previews}"
        max_cost, request_id = self._plan.max_cost, self._head.request_id
        if not self._unread:
            return OutcomeUnknownError(
                message, possible_cost=max_cost, partials=self._partials, request_id=request_id
            )
        # An image may be in what could not be read; it is not thrown away.
        return MalformedReplyError(
            f"{message}, what could not be read is in .reply",
            reply=b"\n\n".join(self._unread),
            possible_cost=max_cost,
            partials=self._partials,
            request_id=request_id,
        )


class StreamReader(PreviewReader):
    """Takes the events of one stream in order, then says what came of it.

    Args:
        plan: What was sent.
        head: Status and headers of the answer; its whole body if it is no event stream.
    """

    def __init__(self, plan: Plan, head: HttpReply) -> None:
        super().__init__(plan, head)
        self._finals: list[StreamEvent] = []
        self._whole: HttpReply | None = None

    def arrived(self) -> HttpReply | None:
        """Return the finished images that are here, as one plain reply; None without any.

        What was being read when the call broke off counts. A thread may still be reading it.
        """
        finals, event = list(self._finals), self.event
        with suppress(ValueError):
            if event is not None and (last := read_event(event)).kind == "completed":
                known = {each.document.images for each in finals}
                finals += [] if last.document.images in known else [last]
        if finals:
            return self._merged(finals)
        reply = self._whole or self._head
        return reply if reply.is_success and reply.body else None

    def _take(self, event: ServerEvent) -> PartialImage | None:
        parsed = self._parsed(event, read_event)
        if parsed is None:
            return None
        document = parsed.document
        if parsed.kind == "partial":
            most = self._plan.request.partial_images
            if most is not None and len(self._partials) >= most:
                return None  # a service that chooses how many there are
            return self._preview(lambda: image_of(document.value, document) or b"", parsed.index)
        if parsed.kind == "completed" and self._is_repeated(document):
            self._notes.append("the stream sent a finished image twice, which counts once")
        elif parsed.kind == "completed":
            self._finals.append(parsed)
        elif parsed.kind == "error":
            error = error_from_event(
                document.value, request_id=self._head.request_id, partials=self._partials
            )
            self._failed(error, has_image=bool(self._finals) or self._whole is not None)
        elif items(document.value):
            before = b"" if self._whole is None else bytes(self._whole.body) + b"\n"
            self._whole = evolve(self._head, body=before + event.data)
        elif document.images:
            self._unread.append(bytes(event.data))
        return None

    def _is_repeated(self, document: ParsedBody) -> bool:
        """Return whether a final image beyond those requested is one that is here already."""
        known = [each.document for each in self._finals]
        return (
            len(known) >= self._plan.request.effective_n
            and bool(document.images)
            and any(
                (document.images, table(document.value).get("usage"))
                == (each.images, table(each.value).get("usage"))
                for each in known
            )
        )

    def end(
        self,
        broken: OutcomeUnknownError | None = None,
        *,
        now: datetime,
        complete: Callable[[HttpReply], tuple[HttpReply, Mapping[str, str]]] = _as_it_is,
    ) -> Completed:
        """Return the result, once the stream is over.

        Args:
            broken: The failure that ended it early, if one did.
            now: The time (UTC), for a stream that does not say when it was made.
            complete: Downloads images a reply only names, and says why some could not be.

        Raises:
            OutcomeUnknownError: It ended without a finished image; carries the previews.
            ApiError: The answer was an error and no stream at all.
        """
        reply, unreachable = complete(self.finished(broken))
        result = self._finish(reply, unreachable, now)
        return Completed(result=result.with_warnings(*self.notes(broken)))

    def finished(self, broken: OutcomeUnknownError | None) -> HttpReply:
        """Return the stream as one plain reply, once it is over.

        Raises:
            OutcomeUnknownError: It ended without a finished image; carries the previews.
        """
        if not self._finals and self._whole is None and (broken or self._is_stream()):
            raise self._cut_short(broken) from broken
        return self.reply()

    def notes(self, broken: OutcomeUnknownError | None) -> tuple[str, ...]:
        """Return what the result should say of the stream, one sentence each."""
        found = list(self._notes)
        if broken:
            found.append(f"the stream broke after a finished image: {broken}")
        if len(self._finals) > 1:
            found.append("usage and cost are the sum over the finished images")
        return tuple(found)

    def reply(self) -> HttpReply:
        """Return the stream as one plain reply, in the form `parse_response` and the cache know."""
        if not self._finals:
            return self._whole or self._head  # some servers stream one plain answer
        return self._merged(self._finals)

    def _merged(self, finals: list[StreamEvent]) -> HttpReply:
        images: list[bytes] = []
        values: list[dict[str, Any]] = []
        for each in finals:
            value = table(each.document.value)
            index = value.get("b64_json")
            if isinstance(index, int) and not 0 <= index < len(each.document.images):
                # A number the service wrote, which is no image.
                value = {name: part for name, part in value.items() if name != "b64_json"}
            elif isinstance(index, int):
                value = {**value, "b64_json": len(images) + index}
                images += each.document.images
            values.append(value)
        return HttpReply(
            status=200,
            headers=self._head.headers,
            body=json.dumps(merged(values)).encode(),
            images=tuple(images),
        )

    def _finish(self, reply: HttpReply, unreachable: Mapping[str, str], now: datetime) -> Result:
        try:
            return parse_response(self._plan, reply, unreachable, now=now)
        except MalformedReplyError as error:
            error.partials = tuple(self._partials)
            raise
