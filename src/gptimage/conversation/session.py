"""The session of a conversation: from the inputs of a turn to a plan, and from a reply to a turn.

It reads files and downloads images, so the async conversation calls it in a thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from gptimage._internal.keywords import plain_int
from gptimage.conversation.messages import check_input, plan_messages
from gptimage.conversation.parsing import Finish, is_forgotten
from gptimage.conversation.planning import TurnPlan, check_ask, image_request, plan_turn
from gptimage.conversation.turns import CompletedTurn, Resume, Turn, TurnInput
from gptimage.engine.arrival import Arrival
from gptimage.engine.plan import Plan
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.errors import (
    ApiError,
    ConfigurationError,
    GptImageError,
    InvalidRequestError,
    StoreError,
)
from gptimage.image.image import Image
from gptimage.models.pricing import DEFAULT_CHAT_MODEL
from gptimage.providers.base import Exchange
from gptimage.providers.openai.responses import Ask
from gptimage.transport.http import HttpReply
from gptimage.types.inputs import (
    API_FORMATS,
    resolve,
)
from gptimage.types.record import Record
from gptimage.types.request import FileRef, Prompt, Sources
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage.store import Store


_STORED: Final = "img_"
_LONGEST_MESSAGE: Final = 500_000
"""Characters of a message with its signatures that a sidecar may have: lists read it, too."""
_UNSAVED: Final = (
    "the model's own message is not saved, as it is too long or has several images: another "
    "process goes on from the image alone"
)
_COUNTED_BYTES: Final = 15_000_000
"""A larger image that the service has already is not encoded just to count its tokens."""


@frozen(kw_only=True)
class _ResumePoint:
    """The start of a turn: a response the service remembers, the image itself, or both.

    Attributes:
        response_id: The response the service remembers, or None.
        image: Its image, where it is at hand.
        tokens: How long the service's memory is, or None.
        exchanges: The turns that a service without memory is sent again.
    """

    response_id: str | None
    image: Image | None
    tokens: int | None = None
    exchanges: tuple[Exchange, ...] = ()


@frozen(kw_only=True)
class ConversationSession:
    """The settings of a conversation, and how a turn is planned.

    Attributes:
        saver: The client's settings, and its store.
        chat_model: The model that reads the prompt.
        image_model: The model that generates images.
        stateless: Whether every turn sends the last image, and the service stores nothing.
        again: The name in results of a model that reads and draws and remembers nothing, so that
            the turns are sent again; None for any other.
    """

    saver: ResultSaver
    chat_model: str
    image_model: str
    stateless: bool
    again: str | None = None

    @classmethod
    def of(
        cls,
        saver: ResultSaver,
        *,
        chat_model: str | None,
        image_model: str | None,
        resume: Resume | None,
        stateless: bool,
    ) -> ConversationSession:
        """Make the session of these settings, with defaults for the rest.

        Raises:
            InvalidRequestError: Nothing can be resumed that way.
            ConfigurationError: A stored image is named, and the client has no store.
        """
        if resume is not None and not isinstance(resume, (str, Turn, Record)):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise _refuse_resume("it must be a turn, a record or an id", resume)
        if isinstance(resume, str) and not resume.strip():
            # An empty variable of a script must not begin a new conversation, and pay for it.
            raise _refuse_resume("it is empty; leave it out for a new conversation", resume)
        if isinstance(resume, str) and not (resume.isascii() and resume.isprintable()):
            raise _refuse_resume("no id has such letters", resume)
        stored = isinstance(resume, str) and resume.startswith(_STORED)
        if stored and saver.store is None:
            raise ConfigurationError(
                f"{resume} names a stored image, and this client has no store: "
                "pass store= to the client, or resume from a response's id (resp_...)"
            )
        if stateless and isinstance(resume, str) and not stored:
            raise _refuse_resume("a stateless conversation goes on from an image", resume)
        model = image_model or saver.core.model
        service, bare, named = saver.core.services.resolve(model)
        if service.to_turn is None:
            reads = chat_model or saver.core.chat_model or DEFAULT_CHAT_MODEL
            return cls(saver=saver, chat_model=reads, image_model=model, stateless=stateless)
        if chat_model not in (None, bare, named):
            raise InvalidRequestError(
                f"chat_model={chat_model!r}: with {service.title} the image model reads the words "
                "itself; leave it out, or name another image_model; nothing was sent",
                field="chat_model",
                value=chat_model,
                allowed=(bare,),
            )
        return cls(
            saver=saver, chat_model=named, image_model=model, stateless=stateless, again=named
        )

    def resolve_inputs(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        *,
        stream: bool = False,
    ) -> TurnInput:
        """Read or download the inputs of a turn, once.

        Args:
            prompt: The words.
            images: Images to use, besides the conversation's own.
            options: A `TurnCall`.
            stream: Whether previews are asked for.

        Raises:
            InvalidRequestError: An input is no image.
            FetchError: A URL could not be downloaded safely.
        """
        rest: dict[str, Any] = {"mask": None, "action": "auto", "tags": (), **options}
        prompt, resolved = self.saver.core.resolve_images(prompt, images)
        return TurnInput(
            prompt=prompt,
            images=resolved,
            mask=self.saver.core.resolve_mask(rest.pop("mask")),
            action=rest.pop("action"),
            tags=self.saver.check_saving(rest.pop("tags")),
            options=rest,
            stream=stream,
        )

    def plan(self, resume: Resume | None, inputs: TurnInput) -> TurnPlan:
        """Check and plan a turn.

        Args:
            resume: What it goes on from, or None for a first turn.
            inputs: The inputs of the turn.

        Raises:
            InvalidRequestError: A rule is broken; nothing may be sent.
            ImageNotFoundError: The store has no such image.
        """
        return self._plan(self._head(resume), inputs)

    def plan_without_previous(
        self, resume: Resume | None, inputs: TurnInput, error: ApiError
    ) -> TurnPlan:
        """Plan the same turn once the service has forgotten the one before: with the image itself.

        Raises:
            ApiError: This error, when it says something else or the image is not known.
        """
        head = self._head(resume)
        if head is None or not is_forgotten(error):
            raise error
        if self.again is not None and head.exchanges:
            turn = self._plan_again(evolve(head, exchanges=()), inputs)
            return _noted(turn, f"the turns before were refused ({error})")
        if head.response_id is None:
            raise error
        if head.image is None:
            raise _unknown_image(error) from error
        turn = self._plan(evolve(head, response_id=None), inputs)
        return _noted(turn, f"the service no longer has response {head.response_id}")

    def parse_turn(
        self,
        resume: Resume | None,
        inputs: TurnInput,
        read: Callable[[Finish], Turn],
        arrival: Arrival,
    ) -> CompletedTurn:
        """Parse a turn's reply, with the raw bytes safe on disk meanwhile.

        Args:
            resume: What the turn went on from.
            inputs: The inputs of the turn.
            read: Parses the reply, given what parses images and cost.
            arrival: Notes where on a disk it is.

        Raises:
            GptImageError: It is an error, or holds no image.
        """
        kept: list[ParsedReply] = []

        def finish(plan: Plan, reply: HttpReply) -> Result:
            kept.append(self.saver.parse_and_spool(plan, reply, arrival))
            return kept[-1].result

        turn = read(finish)
        return CompletedTurn(turn=turn, taken=kept[-1], parent=_stored_id(resume), tags=inputs.tags)

    def save(self, done: CompletedTurn) -> Turn:
        """Save the images, if there is a store, with the ids that go on from them.

        Raises:
            StoreError: They could not be saved; the error carries the result.
        """
        turn, message = done.turn, _storable(done.turn)
        result = self.saver.save(
            evolve(done.taken, result=turn.result),
            done.tags,
            parent=done.parent,
            response_id=turn.response_id,
            call_id=turn.call_ids[0] if turn.call_ids else None,
            message=message,
        )
        if self.saver.store is not None and turn.exchanges and message is None:
            result = result.with_warnings(_UNSAVED)
        return evolve(turn, result=result)

    def _plan_again(self, head: _ResumePoint | None, inputs: TurnInput) -> TurnPlan:
        """Plan a turn of a service that is sent the turns before it again."""
        core = self.saver.core
        check_input(inputs, core.services.resolve(self.image_model)[0].title)
        images = inputs.images
        if head is not None:
            if head.image is None:
                raise _refuse_resume("this service remembers no responses, and the store has no "
                                     "such image", None)  # fmt: skip
            images = self._inputs(inputs, head.image, carried=True, shows=True)
        request = image_request(
            inputs.prompt,
            inputs.options,
            images=images,
            mask=inputs.mask,
            model=self.image_model,
            stream=inputs.stream,
        )
        earlier = () if head is None or self.stateless else head.exchanges
        return plan_messages(core.plan(request), earlier, known=1 if earlier else 0)

    def _plan(self, head: _ResumePoint | None, inputs: TurnInput) -> TurnPlan:
        if self.again is not None:
            return self._plan_again(head, inputs)
        previous = None if head is None or self.stateless else head.response_id
        last = head.image if head else None
        if last is None and (inputs.mask is not None and not inputs.images):
            raise InvalidRequestError(
                "mask: this conversation does not have the image it belongs to; pass images",
                field="mask",
                allowed="a mask together with images",
            )
        if head is not None and previous is None and last is None:
            raise _refuse_resume("neither the service nor the store has its image", None)
        max_images = inputs.options.get("max_images")
        most = 1 if max_images is None else plain_int(max_images)
        known = bool(inputs.images) or head is not None
        check_ask(inputs.action, most, images=known, masked=inputs.mask is not None)
        shows = bool(inputs.images) or previous is None or inputs.mask is not None
        # The service generates gifs but takes none as input, so the turn after one sends a still.
        shows = shows or (last is not None and last.format == "gif" and inputs.action != "generate")
        request = image_request(
            inputs.prompt,
            inputs.options,
            images=self._inputs(inputs, last, carried=previous is None, shows=shows),
            mask=inputs.mask,
            model=self.image_model,
            stream=inputs.stream,
        )
        ask = Ask(
            chat_model=self.chat_model,
            action=inputs.action,
            max_images=most,
            previous=previous,
            remembered=not self.stateless,
            shows=shows,
        )
        core = self.saver.core
        history = head.tokens if head else 0
        return plan_turn(core.plan(request), ask, history=history)

    def _inputs(
        self, inputs: TurnInput, last: Image | None, *, carried: bool, shows: bool
    ) -> tuple[Image | FileRef, ...]:
        """Return the images a turn starts from, the mask's first.

        One that the service has already is named, too: it is what the turn changes, and its
        tokens are part of the estimate.
        """
        if last is None:
            return inputs.images
        if not shows:
            changes = inputs.action != "generate" and _is_countable(last)
            return (last,) if changes else ()
        if inputs.images and not carried:
            return inputs.images
        proved = resolve(last, field="images", fetch=self.saver.core.fetch)
        return (*inputs.images, proved) if inputs.mask is not None else (proved, *inputs.images)

    def _head(self, resume: Resume | None) -> _ResumePoint | None:
        if resume is None:
            return None
        if isinstance(resume, Turn):
            usage = resume.chat_usage
            return _ResumePoint(
                response_id=resume.response_id,
                image=resume.image,
                tokens=usage.total_tokens if usage else None,
                # Another model cannot read what this one thought.
                exchanges=resume.exchanges if resume.result.model == self.again else (),
            )
        store = self.saver.store
        if isinstance(resume, str):
            if store is None or not resume.startswith(_STORED):
                return _ResumePoint(response_id=resume, image=None)
            resume = store.get(resume)
        return _ResumePoint(
            response_id=resume.response_id,
            image=self._image(resume),
            exchanges=() if store is None else self._exchanges(store, resume),
        )

    def _exchanges(self, store: Store, record: Record) -> tuple[Exchange, ...]:
        """Return the turns up to a stored image, as far back as the store has all of them."""
        found: list[Exchange] = []
        before: Record | None = record
        # An image that is gone, or a request that can no longer be planned, begins it later.
        with suppress(GptImageError):
            while before is not None and before.message and before.model == self.again:
                request = evolve(store.request(before), stream=False, partial_images=None)
                wire = self.saver.core.plan(request).wire
                drawn = store.open(before, original=True).data
                found.insert(0, Exchange(request=wire, reply=before.message, images=(drawn,)))
                before = store.get(before.parent) if before.parent else None
        return tuple(evolve(each, known=1 if at else 0) for at, each in enumerate(found))

    def _image(self, record: Record) -> Image | None:
        """Return the image of a record, from the client's store or its own file; None when gone."""
        if self.saver.store is not None:
            with suppress(StoreError):
                return self.saver.store.open(record.id)
        if record.path is None or not record.path.is_file():
            return None
        return Image.from_path(record.path)


def _noted(turn: TurnPlan, why: str) -> TurnPlan:
    """Return the plan of a turn without those before it, with a warning that says so."""
    note = f"{why}: its last image was sent instead, and the earlier turns are forgotten"
    return evolve(turn, plan=evolve(turn.plan, warnings=(*turn.plan.warnings, note)))


def _storable(turn: Turn) -> Mapping[str, object] | None:
    """Return the model's message of a turn, where its one image can stand in it again."""
    if not turn.exchanges or len(turn.exchanges[-1].images) != 1:
        return None
    message = turn.exchanges[-1].reply
    return message if len(json.dumps(message)) <= _LONGEST_MESSAGE else None


def _stored_id(resume: Resume | None) -> str | None:
    """Return the id of the stored image a turn goes on from, for its lineage."""
    if isinstance(resume, Turn):
        return resume.result.stored[0].id if resume.result.stored else None
    if isinstance(resume, Record):
        return resume.id
    return resume if resume is not None and resume.startswith(_STORED) else None


def _is_countable(image: Image) -> bool:
    return image.format in API_FORMATS and image.nbytes < _COUNTED_BYTES


def _refuse_resume(problem: str, value: object) -> InvalidRequestError:
    allowed = "a Turn, a Record, a response's id, or a stored image's id"
    message = f"resume: {problem}; pass {allowed}"
    return InvalidRequestError(message, field="resume", value=value, allowed=allowed)


def _unknown_image(error: ApiError) -> GptImageError:
    """Return the same error, with what helps: only the id is known, not the image."""
    return type(error)(
        f"{error}; only its id is known here: resume from the stored image or its record, "
        "or pass the image itself as images to a new conversation",
        status=error.status,
        code=error.code,
        type=error.type,
        param=error.param,
        request_id=error.request_id,
        retry_after=error.retry_after,
        body=error.body,
    )
