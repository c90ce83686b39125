"""A sandbox that records what it replies, for clients in any language."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from gptimage.sandbox import Sandbox
from gptimage.sandbox.service import CONTROL, SandboxReply
from gptimage.testing.cassette import Cassette
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


class RecordingSandbox(Sandbox):
    """A sandbox whose images and responses become a cassette.

    Args:
        path: The folder of the cassette.
        whole: Store the images as they are.
        **settings: See `Sandbox`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, whole: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._cassette = Cassette(path, mode="add", whole=whole)

    def handle(self, request: HttpRequest) -> SandboxReply:
        """Reply as a sandbox does, and record requests that draw."""
        found = super().handle(request)
        path, _ = self.dialect.route(request.path)
        drawn = path == "/responses" or self.dialect.draws(path)
        if request.method != "POST" or request.path.startswith(CONTROL) or not drawn:
            return found
        if found.ends != "whole":  # a broken connection has no reply
            return found
        plain = evolve(request, path=path, headers=request.headers)
        if found.events is None:
            self._cassette.record(plain, found.reply)
            return found
        return evolve(found, events=self._recorded(plain, found.reply, found.events))

    def _recorded(
        self, request: HttpRequest, head: HttpReply, events: Iterator[ServerEvent]
    ) -> Iterator[ServerEvent]:
        seen: list[ServerEvent] = []
        for event in events:
            seen.append(event)
            yield event
        self._cassette.record(request, head, seen)
