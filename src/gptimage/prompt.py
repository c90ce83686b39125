"""A prompt: the text for the model, and the settings its template recommends.

It is what `PromptTemplate` renders and what `ImageClient.generate` accepts in place of plain
text. Making one sends nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen


def _copy(arguments: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(arguments))


@frozen(kw_only=True)
class Prompt:
    """Text for the model with recommended settings; explicit keyword arguments win over them.

    The text and the arguments stay out of ``repr``, as prompts stay out of logs; ``str(prompt)``
    is the text.

    Attributes:
        text: What the model is asked to draw.
        size: A size such as ``"1200x630"``, or None for no recommendation.
        quality: A quality such as ``"high"``, or None for no recommendation.
        background: ``"opaque"``, ``"transparent"`` or ``"auto"``, or None for no recommendation.
        format: A file format such as ``"png"``, or None for no recommendation.
        template: Name of the template it was rendered from, or None.
        arguments: What it was rendered with, defaults included; cannot be changed.
    """

    text: str = field(repr=False, kw_only=False)
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    format: str | None = None
    template: str | None = None
    arguments: Mapping[str, object] = field(
        factory=dict[str, object], converter=_copy, repr=False, hash=False
    )

    def __str__(self) -> str:
        """The text alone."""
        return self.text

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by value: a read-only mapping cannot be pickled as it is."""
        settings = (self.size, self.quality, self.background, self.format, self.template)
        return _rebuild, (self.text, *settings, dict(self.arguments))


def _rebuild(
    text: str,
    size: str | None,
    quality: str | None,
    background: str | None,
    format: str | None,
    template: str | None,
    arguments: Mapping[str, object],
) -> Prompt:
    return Prompt(
        text,
        size=size,
        quality=quality,
        background=background,
        format=format,
        template=template,
        arguments=arguments,
    )
