"""Methods both clients share that send nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import evolve

from gptimage._internal.keywords import flag, one_of, path, refused, text
from gptimage.engine.send import SendHook, chain
from gptimage.models.catalog import Models


if TYPE_CHECKING:
    from gptimage.budget.ledger import Ledger
    from gptimage.bulk.checkpoint_hook import CheckpointHook
    from gptimage.cache.base import Cache
    from gptimage.engine.accounting import CallAccounting
    from gptimage.engine.config import ClientConfig
    from gptimage.engine.save import ResultSaver
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates
    from gptimage.types.request import Prompt


NO_BATCH: Final = "a gate is not asked about batches: use the client that has none"


def check_many(
    concurrency: object, checkpoint: object, *, retry_unknown: object, refresh: object
) -> None:
    """Refuse what a run of many could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise refused("concurrency", concurrency, "a whole number, 1 or more")
    if checkpoint is not None:
        path("checkpoint", checkpoint)
    flag("retry_unknown", retry_unknown)
    flag("refresh", refresh)


def check_talk(model: object, image_model: object, *, stateless: object) -> None:
    """Refuse what a conversation could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    for name, value in (("model", model), ("image_model", image_model)):
        if value is not None:
            text(name, value)
    flag("stateless", stateless)


def check_batch(state: object, metadata: object) -> None:
    """Refuse what a batch could not use.

    Raises:
        ConfigurationError: A value is of the wrong kind.
    """
    if state is not None:
        path("state", state)
    if metadata is not None:
        one_of("metadata", metadata, Mapping, "a dict of texts")


class Catalogue:
    """What both clients tell without asking anybody."""

    store: Store | None
    cache: Cache | None
    ledger: Ledger | None
    _core: ClientConfig
    _keeper: ResultSaver
    _meter: CallAccounting
    _templates: PromptTemplates | None
    _sender: Any

    def models(self) -> Models:
        """The catalogue: what each model accepts and costs, and until when it lives."""
        return self._core.models

    def render(self, template: str, /, **arguments: object) -> Prompt:
        """Fill in a prompt template. Nothing is sent and nothing is billed.

        Raises:
            TemplateError: There is no such template, or an argument is wrong.
        """
        if self._templates is None:
            from gptimage.templates import PromptTemplates

            self._templates = PromptTemplates.builtin()
        return self._templates.render(template, **arguments)

    def with_send_hook(self, gate: SendHook) -> Self:
        """This client once more, whose requests leave only when ``gate`` agrees.

        It is asked before every try, after the gates this client has already; an answer from
        the cache leaves nothing to ask. Both clients have the same connections, store, cache
        and budget, so close only one.

        Args:
            gate: Who is asked.
        """
        twin = copy.copy(self)
        twin._sender = evolve(self._sender, gate=chain(gate, self._sender.gate))
        return twin

    def _leaving(self, leaving: CheckpointHook) -> Self:
        twin = self.with_send_hook(leaving)
        twin._keeper = evolve(self._keeper, keep=leaving.keep)
        return twin
