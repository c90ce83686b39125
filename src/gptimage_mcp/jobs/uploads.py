"""Images that callers uploaded, to be named in a call; each is bound to its caller, for a day."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from contextlib import suppress
from typing import Final, cast

from attrs import frozen

import gptimage
from gptimage_mcp.jobs.shared import SharedState


KEPT: Final = 86_400
"""Seconds."""

PER_CALLER: Final = 32
"""Most uploads saved for each caller; the oldest goes first."""

_ID: Final = re.compile(r"upload_[0-9a-f]{32}", re.ASCII)


def is_upload(text: str) -> bool:
    """Return whether this could be the id of an upload; nothing else becomes a key."""
    return _ID.fullmatch(text) is not None


@frozen
class Uploads:
    """The uploads of all callers, where every replica finds them.

    Attributes:
        state: Where they are.
    """

    state: SharedState

    def save(self, image: gptimage.Image, owner: str | None) -> str:
        """Save an image that was proved to be one, and return its id.

        Raises:
            OSError: It cannot be saved.
        """
        id = f"upload_{secrets.token_hex(16)}"
        caller = _caller(owner)
        self.state.write(_key(caller, id), image.data, seconds=KEPT)
        # Two uploads of one caller at the same moment may forget one in this list: it is then
        # deleted with age instead of by number.
        ids = [id, *self._ids(caller)]
        self.state.write(f"uploads.{caller}", json.dumps(ids[:PER_CALLER]).encode(), seconds=KEPT)
        for old in ids[PER_CALLER:]:
            with suppress(OSError):  # it goes with age
                self.state.delete(_key(caller, old))
        return id

    def open(self, id: str, owner: str | None) -> gptimage.Image | None:
        """Return an upload of this caller; None for any other id, also another caller's.

        Raises:
            OSError: It cannot be read.
        """
        if not is_upload(id):
            return None
        data = self.state.read(_key(_caller(owner), id))
        return None if data is None else gptimage.Image.from_bytes(data)

    def _ids(self, caller: str) -> list[str]:
        try:
            found: object = json.loads(self.state.read(f"uploads.{caller}") or b"[]")
        except ValueError:
            return []
        listed = cast("list[object]", found) if isinstance(found, list) else []
        return [each for each in listed if isinstance(each, str) and is_upload(each)]


def _key(caller: str, id: str) -> str:
    return f"{id}.{caller}"


def _caller(owner: str | None) -> str:
    """Return the caller as part of a key: names of callers may hold anything."""
    return hashlib.sha256((owner or "").encode()).hexdigest()[:16]
