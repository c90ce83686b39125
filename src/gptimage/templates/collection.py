"""A set of prompt templates by name: the ten built in, a folder of your own, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from attrs import evolve

from gptimage.errors import TemplateError
from gptimage.templates.arguments import Brand, did_you_mean
from gptimage.templates.template import PromptTemplate
from gptimage.types.request import Prompt


if TYPE_CHECKING:
    from gptimage.templates.loading import Stamp

# The reading of files is imported where it is used: `import gptimage` needs none of it.
_T = TypeVar("_T")


class PromptTemplates(Mapping[str, PromptTemplate]):
    """Templates by name, in the order of their names; cannot be changed once made.

    Args:
        templates: Templates to hold; of two with the same name the later wins.
    """

    def __init__(self, templates: Iterable[PromptTemplate] = ()) -> None:
        by_name = {template.name: template for template in templates}
        self._templates: dict[str, PromptTemplate] = dict(sorted(by_name.items()))
        self._brand: Brand | None = None
        self._stamps: dict[Path, Stamp] = {}
        self._again: Callable[[], PromptTemplates] | None = None

    @classmethod
    def builtin(cls) -> PromptTemplates:
        """Return the ten templates that come with the library."""
        from gptimage.templates.loading import builtin

        return cls(builtin())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PromptTemplates:
        """Every ``*.toml`` and ``*.json`` template directly in a folder, and its ``brand.toml``.

        Args:
            folder: The folder; folders inside it and files whose names start with a dot are
                left alone.

        Raises:
            TemplateError: Anything is wrong with any file; ``.problems`` names each problem.
        """
        from gptimage.templates.loading import read, stamp

        path = Path(folder)
        before = stamp(path)
        content = read(path)
        found = cls(content.templates)
        found._brand = content.brand
        found._stamps = {path: before}
        found._again = partial(cls.load, path)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(self._templates)

    @property
    def brand(self) -> Brand | None:
        """The brand the templates are rendered for, or None."""
        return self._brand

    def render(self, name: str, /, **arguments: object) -> Prompt:
        """Render one template; sends nothing and costs nothing.

        Raises:
            TemplateError: There is no such template, or its arguments are wrong.
        """
        return self[name].render(arguments)

    def with_brand(self, brand: Brand) -> PromptTemplates:
        """Return the same templates, all rendered for this brand.

        Args:
            brand: Replaces whatever brand they had.
        """
        found = PromptTemplates(evolve(template, brand=brand) for template in self.values())
        found._brand = brand
        found._stamps = self._stamps
        found._again = partial(_rebranded, self, brand)
        return found

    def changed(self) -> bool:
        """Return whether a file of the folders these came from was added, changed or removed.

        Raises:
            TemplateError: A folder can no longer be read.
        """
        from gptimage.templates.loading import stamp

        return any(before != stamp(folder) for folder, before in self._stamps.items())

    def reloaded(self) -> PromptTemplates:
        """Return a fresh set read from the same folders; this one stays as it is.

        Raises:
            TemplateError: Anything is wrong with any file; this set can still be used.
        """
        return self if self._again is None else self._again()

    def __or__(self, other: PromptTemplates) -> PromptTemplates:
        """Return both sets; where both have a name, the right one wins."""
        if not isinstance(other, PromptTemplates):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            return NotImplemented
        found = PromptTemplates([*self.values(), *other.values()])
        found._brand = other._brand or self._brand
        found._stamps = {**self._stamps, **other._stamps}
        found._again = partial(_joined, self, other)
        return found

    def __getitem__(self, name: str) -> PromptTemplate:
        """Return the template of this name.

        Raises:
            TemplateError: There is none.
        """
        found = self._templates.get(name) if isinstance(name, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        if found is None:
            meant = did_you_mean(str(name).lower().replace("-", "_"), self.names)
            known = ", ".join(self.names) or "none"
            raise TemplateError(
                f"there is no template '{name}'{meant}; there are {known}",
                template=name,
                allowed=self.names,
            )
        return found

    def __iter__(self) -> Iterator[str]:
        """Return the names, sorted."""
        return iter(self._templates)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._templates)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a template of this name."""
        return name in self._templates

    @overload
    def get(self, key: str, default: None = None, /) -> PromptTemplate | None: ...
    @overload
    def get(self, key: str, default: PromptTemplate, /) -> PromptTemplate: ...
    @overload
    def get(self, key: str, default: _T, /) -> PromptTemplate | _T: ...
    def get(self, key: str, default: object = None, /) -> object:
        """Return the template of this name, or the default."""
        return self._templates.get(key, default)

    def __repr__(self) -> str:
        """Return the names."""
        return f"PromptTemplates({', '.join(self.names)})"


def _rebranded(templates: PromptTemplates, brand: Brand) -> PromptTemplates:
    return templates.reloaded().with_brand(brand)


def _joined(left: PromptTemplates, right: PromptTemplates) -> PromptTemplates:
    return left.reloaded() | right.reloaded()
