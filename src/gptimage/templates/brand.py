"""A brand that templates can share: its name, palette, tone and what it avoids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import fields, frozen

from gptimage.templates.render import Given


@frozen(kw_only=True)
class Brand:
    """What every template of a folder may use as ``{brand.name}``, ``{brand.palette}``...

    Attributes:
        name: The brand's name, spelled as it should appear.
        palette: Its colours in words, such as ``"deep navy (#0B1F3A), coral and white"``.
        tone: How it looks and speaks, such as ``"calm, precise, a little dry"``.
        avoid: What its pictures never show, such as ``"clip art or stock-photo handshakes"``.
    """

    name: str | None = None
    palette: str | None = None
    tone: str | None = None
    avoid: str | None = None

    def known(self) -> Iterator[tuple[str, Given]]:
        """The fields that are set, as the template language names them."""
        for field in BRAND_FIELDS:
            words = getattr(self, field)
            if words:
                yield f"brand.{field}", Given(words, words)


BRAND_FIELDS: Final[tuple[str, ...]] = tuple(field.name for field in fields(Brand))
"""The keys of ``brand.toml``."""
