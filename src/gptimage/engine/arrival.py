"""Replies whose images nobody has yet: written to a disk when their call breaks off.

A reply is paid for when it arrives, and a call may still break off before its images are saved or
returned: Ctrl-C, a task that is cancelled, a full memory. Where the call goes on nothing happens
here; the reply stays in memory and costs no file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field

from gptimage.errors import ApiError, MalformedReplyError, StoreError
from gptimage.transport.base64_body import decoded_images, reassemble
from gptimage.transport.http import HttpReply
from gptimage.transport.protocols import AsyncEventStream


if TYPE_CHECKING:
    from gptimage.store.recovery import SpooledReply


_LOG: Final = logging.getLogger("gptimage")
_FOUND: Final = "'gptimage recover' or Store.recover saves its images"


class EventReader(Protocol):
    """A reader of a stream's events."""

    def arrived(self) -> HttpReply | None:
        """Return the finished images that are here, as one reply; None when there is none."""
        ...


def _unchanged(reply: HttpReply) -> HttpReply:
    return reply


@define
class Arrival:
    """What has arrived for one call, until its images are saved or returned.

    Attributes:
        response: The response as the transport returned it, or None.
        reader: What reads its events, or None.
        entry: Where its reply is on a disk, once it is.
        given_up: Whether the caller has gone: what arrives from then on is written to a disk.
    """

    response: HttpReply | AsyncEventStream | None = None
    reader: EventReader | None = None
    entry: SpooledReply | None = None
    given_up: bool = False
    _keep: Callable[[bytes], SpooledReply] | None = field(default=None, init=False)
    _convert: Callable[[HttpReply], HttpReply] = field(default=_unchanged, init=False)

    @contextmanager
    def kept_on_failure(
        self,
        keep: Callable[[bytes], SpooledReply],
        convert: Callable[[HttpReply], HttpReply] = _unchanged,
    ) -> Generator[None]:
        """Write the reply to a disk if the block breaks off while only this call has it.

        The exception says where it is. It carries the reply itself, as ``reply``, where no disk
        takes it.

        Args:
            keep: Writes a reply to a disk.
            convert: Makes a reply of the Images API of a response of another kind.
        """
        self._keep, self._convert = keep, convert
        try:
            yield
        except BaseException as error:
            self.given_up = True
            if not _carries(error):
                self.rescue(error)
            raise

    def rescue(self, error: BaseException | None = None) -> None:
        """Write what arrived to a disk, if only this call has it.

        Args:
            error: What broke the call off, or None when it did so before the reply was here.

        Raises:
            StoreError: No disk takes it, and there is no exception that could carry it.
        """
        if self.entry is not None and self.entry.path is not None:
            if self.entry.path.exists():  # else its images are in the store
                self.entry.give_up()
                _say(error, f"its reply is paid and waits in {self.entry.path}: {_FOUND}")
            return
        reply: HttpReply | bytes | None = None
        failure: BaseException | None = None
        warning: str | None = None
        try:
            reply = self.reader.arrived() if self.reader else self._whole_response()
            if reply is None or self._keep is None:
                return
            found = reply if self.reader else self._convert(reply)
            reply = reassemble(found.body, found.images)
            if not _is_worth(reply):
                return
            self.entry = self._keep(reply)
            warning = self.entry.warning
        except BaseException as second:  # noqa: BLE001  # one that fails, too, must not lose it
            failure = second
            warning = (
                f"its reply could not be written to a disk ({type(second).__name__}: {second})"
            )
        if warning is None and self.entry is not None:
            _say(error, f"its reply is paid and was kept in {self.entry.path}: {_FOUND}")
            return
        self._carry(reply, error, failure, f"{warning}; it is in .reply of this error")

    def _whole_response(self) -> HttpReply | None:
        found = self.response
        reply = found if isinstance(found, HttpReply) or found is None else found.reply
        return reply if reply is not None and reply.is_success and reply.body else None

    def _carry(
        self,
        reply: HttpReply | bytes | None,
        error: BaseException | None,
        failure: BaseException | None,
        message: str,
    ) -> None:
        """Let an exception carry the reply: the one at hand, or one of its own."""
        if error is None or isinstance(error, GeneratorExit):  # nobody would see that one
            carrier: BaseException = StoreError(f"a call was given up after it was paid: {message}")
        elif failure is not None and not isinstance(failure, Exception):
            carrier = failure  # a second Ctrl-C
        else:
            carrier = error
        for each in (carrier, error):
            if each is not None:
                each.reply = reply  # type: ignore[attr-defined]  # any class may break a call off
                each.add_note(message)
        _LOG.error("a call was given up after it was paid: %s", message)
        if carrier is not error:
            raise carrier from error


def _carries(error: BaseException) -> bool:
    """Whether an exception has the images or the reply already, or says that nothing was drawn."""
    known = isinstance(error, (ApiError, MalformedReplyError))
    return known or getattr(error, "result", None) is not None


def _is_worth(body: bytes) -> bool:
    """Whether a reply holds an image or the address of one: any other can be done without."""
    return bool(decoded_images(body)) or b'"url"' in body


def _say(error: BaseException | None, message: str) -> None:
    """Say where a reply is: in the log, as a task's cancellation shows no notes, and beside."""
    if error is not None:
        error.add_note(message)
    _LOG.warning("a call was given up after it was paid: %s", message)
