"""A provider: a service that draws images, and how it differs from OpenAI's Images API.

Everything between a request and its saved images is written against one form, that of OpenAI's
Images API. A provider translates that form into what its service reads, and its replies back.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from gptimage._internal.keywords import strict_class
from gptimage.errors import ConfigurationError
from gptimage.models.sizes import SizeRule
from gptimage.secrets import display_url, remember, remember_url, scrub_error
from gptimage.transport.base64_body import reassemble
from gptimage.transport.environment import check_key, check_url, environment_key
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import SANDBOX_URL
from gptimage.types.parameters import PARAMETERS


ALL: Final[frozenset[str]] = frozenset(PARAMETERS)
"""Every parameter of a call."""

EDITS: Final = frozenset({"images", "mask", "markup", "input_fidelity"})
"""The parameters of an edit alone; one that takes no ``images`` makes no edits."""


@frozen(kw_only=True)
class Exchange:
    """One turn of a conversation that no service remembers: it is sent again with the next ones.

    Attributes:
        request: The request of this turn alone, as the service reads it.
        known: How many of its first input images are in the turns before it.
        reply: The model's message, with what the service wants back in it, such as signatures. A
            number in the place of an image is one of ``images``; empty before it is here.
        images: The images of the reply, as they came.
    """

    request: HttpRequest = field(repr=False)
    known: int = 0
    reply: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    images: tuple[bytes, ...] = field(default=(), repr=False)


def _no_headers() -> Mapping[str, str]:
    return {}


def _shown_address(url: str | None) -> str:
    return repr(None if url is None else display_url(str(url)))


def _same_address(url: str) -> str:
    return url


def _same_request(request: HttpRequest) -> HttpRequest:
    return request


def _same_reply(reply: HttpReply) -> HttpReply:
    return reply


def _same_event(event: ServerEvent, earlier: Sequence[ServerEvent]) -> ServerEvent:
    del earlier
    return event


@strict_class
@frozen(kw_only=True)
class Provider:
    """A service that draws images. It holds no connection, so clients may share it.

    The three functions are pure: no I/O, no clock. They see requests and replies whose images
    are apart, as bytes: `HttpRequest.files` and `HttpReply.images`.

    Attributes:
        name: What selects it: ``provider="name"``, and ``model="name/..."`` for one call.
        title: Its name in messages.
        base_url: The address that paths are below; None where each user has another.
        url_variables: Environment variables with that address, the first that is set counts.
        address: Returns the address of the API, of the one a user gives.
        key_variables: Environment variables with the key; each may also end in ``_FILE`` and
            name a file that holds it.
        key_header: The header the key is sent in; ``authorization`` sends it as ``Bearer``.
        needs_key: Whether it cannot be used without a key.
        api_key: The key; that of the environment when left out.
        logins: How else one logs in, for the message that there is no key.
        token: Returns a bearer token, called before each request instead of using a key.
        headers: Returns further headers of each request; it may read the environment.
        catalogue: Whose rows of the catalogue hold here: its own name when left out; empty
            where nothing is known of its models.
        default_model: The model used when neither call nor client names one; None where there is
            none that everybody has.
        parameters: The parameters of a call that it takes; all others are refused by name.
        max_images: The most images one call may draw.
        max_inputs: The most input images of an edit.
        files: Whether input images may be named by the id of a file uploaded there.
        sizes: The sizes a model draws that the catalogue does not know; None sends the size as
            it was given.
        streams: Whether it can stream previews.
        batches: Whether it has OpenAI's Batch API.
        conversations: Whether it has OpenAI's Responses API, which remembers a conversation.
        chooses_format: Whether the service chooses the file format itself, so that images are
            converted here to the one asked for.
        form_moderation: Whether the form of an edit takes ``moderation``; else the edit is JSON.
        model_header: The header of a conversation's request that names the image model, or None.
        slashes: Whether names of models have slashes in them, so that what stands before the
            first one is no other provider.
        to_wire: Returns the request as the service reads it, of one of the Images API.
            `HttpRequest.image_key` says where the reply will have its images. It raises
            `InvalidRequestError` for what cannot be expressed there.
        from_wire: Returns the reply as the Images API would give it: ``{"data": [{"b64_json":
            0}], "usage": {...}}``, where a number stands for an image of `HttpReply.images`, or
            ``{"error": {"message": ..., "code": ...}}``. ``cost_usd`` is what the service says
            it cost, in USD. ValueError leaves the reply as it came.
            ``model_message`` is the `Exchange.reply`, whose numbers stand for images of ``data``.
        from_event: Returns an event of a stream as the Images API would send it, of that event
            and those before it.
        to_turn: Returns the request of a turn where the service remembers nothing, of the turns
            so far, of which the last one has no reply. None where there are no such
            conversations.
    """

    name: str
    title: str
    base_url: str | None = field(default=None, repr=_shown_address)
    url_variables: tuple[str, ...] = ()
    address: Callable[[str], str] = field(default=_same_address, repr=False)
    key_variables: tuple[str, ...] = ()
    key_header: str = "authorization"
    needs_key: bool = True
    api_key: str | None = field(default=None, repr=False)
    logins: str = field(default="", repr=False)
    token: Callable[[], str] | None = field(default=None, repr=False)
    headers: Callable[[], Mapping[str, str]] = field(default=_no_headers, repr=False)
    catalogue: str | None = None
    default_model: str | None = None
    parameters: frozenset[str] = field(default=ALL, repr=False)
    max_images: int = 10
    max_inputs: int = 16
    files: bool = False
    sizes: SizeRule | None = field(default=None, repr=False)
    streams: bool = False
    batches: bool = False
    conversations: bool = False
    chooses_format: bool = False
    form_moderation: bool = False
    model_header: str | None = None
    slashes: bool = False
    to_wire: Callable[[HttpRequest], HttpRequest] = field(default=_same_request, repr=False)
    from_wire: Callable[[HttpReply], HttpReply] = field(default=_same_reply, repr=False)
    from_event: Callable[[ServerEvent, Sequence[ServerEvent]], ServerEvent] = field(
        default=_same_event, repr=False
    )
    to_turn: Callable[[Sequence[Exchange]], HttpRequest] | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a name that no model could begin with, and mask the key from now on."""
        if not self.name or "/" in self.name or self.name != self.name.lower().strip():
            raise ConfigurationError(
                f"Provider(name={self.name!r}) must be a word in small letters without a slash"
            )
        remember(self.api_key)
        if self.base_url is not None:
            remember_url(str(self.base_url))

    @property
    def translates(self) -> bool:
        """Whether its replies are not those of the Images API."""
        return self.from_wire is not _same_reply

    @property
    def has_turns(self) -> bool:
        """Whether images can be changed turn by turn there, in a conversation."""
        return self.conversations or self.to_turn is not None

    @property
    def rows(self) -> str:
        """Whose rows of the catalogue hold here."""
        return self.name if self.catalogue is None else self.catalogue

    @property
    def has_key(self) -> bool:
        """Whether it can be used: it has a key or a token, or needs none."""
        return not self.needs_key or self.api_key is not None or self.token is not None

    def connected(
        self, *, base_url: str | None = None, api_key: str | None = None, needs_key: bool = True
    ) -> Provider:
        """Return it with an address and a key: those given, its own, or the environment's.

        Args:
            base_url: The address; the environment's or its own when left out.
            api_key: The key; its own or the environment's when left out.
            needs_key: Whether to refuse one without a key.

        Raises:
            ConfigurationError: There is none, or one cannot be used; nothing was sent.
        """
        found = evolve(self, base_url=self.url(base_url))
        if api_key is not None:
            return evolve(found, api_key=check_key("api_key", api_key), token=None)
        if found.api_key is None and found.token is None:
            named, key = environment_key(*self.key_variables) if self.key_variables else ("", None)
            found = found if key is None else evolve(found, api_key=check_key(named, key))
        if needs_key and not found.has_key:
            ways = [
                f"set the environment variable {name} (or {name}_FILE, the path of a file that "
                "holds it)"
                for name in self.key_variables
            ]
            ways += [self.logins] if self.logins else []
            raise ConfigurationError(
                f"no API key for {self.title}: {', or '.join(ways)}, pass api_key=, or use "
                "ImageClient.sandbox(), which needs none; nothing was sent"
            )
        return found

    def url(self, given: str | None = None) -> str:
        """Return its address: the one given, the environment's, or its own.

        Raises:
            ConfigurationError: There is none, or it cannot be used.
        """
        if given == SANDBOX_URL:
            return given
        variables = ((name, os.environ.get(name)) for name in self.url_variables)
        for name, url in (("base_url", given), *variables):
            if url is not None:
                return self.address(check_url(name, url))
        if self.base_url is not None:
            return self.base_url
        ways = " or ".join(self.url_variables)
        raise ConfigurationError(
            f"{self.title} has no address that holds for everybody: give yours as {ways} (or "
            "base_url=); nothing was sent"
        )

    def key_headers(self) -> dict[str, str]:
        """Return the header of the key, if there is one."""
        if self.api_key is None:
            return {}
        bearer = self.key_header == "authorization"
        return {self.key_header: f"Bearer {self.api_key}" if bearer else self.api_key}

    def token_headers(self) -> dict[str, str]:
        """Return the header of a new token; this may ask a server for it.

        Raises:
            ConfigurationError: The function of the token failed; nothing was sent.
        """
        if self.token is None:
            return {}
        try:
            found = self.token()
        except ConfigurationError:
            raise
        except Exception as error:
            scrub_error(error)
            raise ConfigurationError(
                f"no token for {self.title} ({type(error).__name__}: {error}); nothing was sent"
            ) from error
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()  # else Python warns that it was never awaited
            raise ConfigurationError(
                f"the token of {self.title} would have to be awaited: pass a function that returns "
                "it, such as that of a login of azure.identity, not of azure.identity.aio; "
                "nothing was sent"
            )
        return {"authorization": f"Bearer {check_key('token', found)}"}

    def read(self, request: HttpRequest, reply: HttpReply) -> HttpReply:
        """Return a reply as the Images API would give it, or as it came where that fails.

        What cannot be translated may be paid for: its bytes go on as they arrived, so that the
        error that says so carries them.
        """
        try:
            return self.from_wire(reply)
        except Exception:  # noqa: BLE001  # whatever is wrong with a paid reply, it is not lost
            whole = reassemble(reply.body, reply.images, request.image_key)
            return evolve(reply, body=whole, images=())

    def read_event(self, event: ServerEvent, earlier: Sequence[ServerEvent] = ()) -> ServerEvent:
        """Return an event as the Images API would send it, or as it came where that fails.

        Args:
            event: The event.
            earlier: The events before it, as they came.
        """
        try:
            return self.from_event(event, earlier)
        except Exception:  # noqa: BLE001  # see `read`
            return event
