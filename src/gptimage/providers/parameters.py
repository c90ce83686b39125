"""Refuses what a provider cannot do, by name and before anything is sent."""

from __future__ import annotations

from collections.abc import Callable

from gptimage.errors import InvalidRequestError
from gptimage.providers import names, provider
from gptimage.providers.base import Provider
from gptimage.types.parameters import PARAMETERS
from gptimage.types.request import Edit, FileRef, Generate


_SHOWN = 5
"""Providers that a message names."""


def check_parameters(request: Generate, service: Provider) -> None:
    """Refuse parameters, numbers and operations that a provider does not have.

    Args:
        request: What was asked.
        service: The provider that would draw.

    Raises:
        InvalidRequestError: One; it names the providers that have it.
    """
    for name in PARAMETERS:
        if name not in service.parameters and getattr(request, name, None) is not None:
            what = "makes no edits" if name == "images" else f"takes no {name}"
            raise _refused(name, service, what, _takes(name))
    if request.effective_n > service.max_images:
        most = f"draws at most {service.max_images} in one call"
        raise _refused("n", service, most, lambda each: each.max_images >= request.effective_n)
    if request.partial_images and not service.streams:
        raise _refused("partial_images", service, "sends no previews", lambda each: each.streams)
    if not isinstance(request, Edit):
        return
    if len(request.images) > service.max_inputs:
        most = f"takes at most {service.max_inputs} input images"
        enough = len(request.images)
        raise _refused("images", service, most, lambda each: each.max_inputs >= enough)
    if not service.files and any(isinstance(each, FileRef) for each in request.inputs):
        raise _refused("images", service, "knows no ids of files", lambda each: each.files)


def check_batch(service: Provider) -> None:
    """Refuse a batch where there is none.

    Raises:
        InvalidRequestError: It has no Batch API.
    """
    if not service.batches:
        raise _refused("batch", service, "has no Batch API", lambda each: each.batches)


def check_conversation(service: Provider) -> None:
    """Refuse a conversation where there is none.

    Raises:
        InvalidRequestError: It has none.
    """
    if not service.has_turns:
        what = "has no Responses API, which conversations need"
        raise _refused("chat_model", service, what, lambda each: each.has_turns)


def check_question(service: Provider) -> None:
    """Refuse a question about images where no chat model could be asked.

    Raises:
        InvalidRequestError: It has no Responses API; one that has conversations of its own, such
            as Gemini, need not have it.
    """
    if not service.conversations:
        what = "has no Responses API, which questions about images need"
        raise _refused("chat_model", service, what, lambda each: each.conversations)


def _takes(name: str) -> Callable[[Provider], bool]:
    return lambda service: name in service.parameters


def _refused(
    field: str, service: Provider, what: str, able: Callable[[Provider], bool]
) -> InvalidRequestError:
    found = [each for each in names() if each != service.name and able(provider(each))]
    shown = ", ".join(found[:_SHOWN])
    others = f", or use a provider that does (model='NAME/...'): {shown}" if found else ""
    return InvalidRequestError(
        f"{field}: {service.title} {what}; leave it out{others}; nothing was sent",
        field=field,
        allowed=tuple(found),
    )
