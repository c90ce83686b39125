"""What is compared: prompts by models by qualities, each combination once."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from attrs import evolve, field, frozen

from gptimage._internal.json import array
from gptimage._internal.text import closest
from gptimage.checks import AnyCheck, CheckResult, named_checks
from gptimage.checks.check import checked
from gptimage.errors import InvalidRequestError, error_to_dict
from gptimage.store import Store
from gptimage.types.request import EditOptions, Generate, Options, Prompt, generate_request
from gptimage.types.result import Result


MOST: Final = 500
"""Cells of one comparison: what a person can look at, and a typing error should not pay for."""

_KEYS: Final = ("title", "options", "prompt")


TAG: Final = "compare-"
"""How the tag begins that all images of a comparison have in the store."""


def tag_of(title: str) -> str:
    """Return the tag of a comparison: its title in plain letters."""
    plain = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60]
    return TAG + (plain or "set")


@frozen(kw_only=True)
class Case:
    """One prompt of a comparison.

    Attributes:
        text: The prompt.
        name: What the sheet and the tags call it; its first words when left out.
        version: Which version of the prompt it is; a digest of the text when left out.
        checks: What its images should be, besides the checks of the whole comparison.
        options: Parameters of this prompt alone; see `EditOptions`.
    """

    text: str | Prompt = field(repr=False)
    name: str = ""
    version: str = ""
    checks: Sequence[AnyCheck] = ()
    options: Mapping[str, Any] = field(factory=dict[str, Any])

    @property
    def words(self) -> str:
        """The prompt as text."""
        return str(self.text)

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or " ".join(self.words.split()[:6])[:60]

    @property
    def revision(self) -> str:
        """Its version."""
        return self.version or hashlib.sha256(self.words.encode()).hexdigest()[:8]


@frozen(kw_only=True)
class Setting:
    """One column of a comparison.

    Attributes:
        model: The model.
        quality: The quality, or None for the prompt's or the service's own.
    """

    model: str
    quality: str | None = None

    def __str__(self) -> str:
        """Return both, as a heading."""
        return self.model if self.quality is None else f"{self.model}, {self.quality}"


@frozen(kw_only=True)
class Cell:
    """One image of a comparison, or why there is none.

    Attributes:
        case: The prompt.
        setting: The model and the quality.
        result: What came, or None.
        error: Why nothing came, or None.
        usd: What the image cost when it was drawn, in USD, also where it is from the cache now;
            None when that is not known.
        seconds: How long it took; None for one from the cache.
        checks: What its checks found.
    """

    case: Case
    setting: Setting
    result: Result | None = field(default=None, repr=False)
    error: Exception | None = field(default=None, eq=False)
    usd: Decimal | None = None
    seconds: float | None = None
    checks: tuple[CheckResult, ...] = ()

    @property
    def id(self) -> str | None:
        """The image's id in the store, or None."""
        return self.result.stored[0].id if self.result and self.result.stored else None

    def to_dict(self) -> dict[str, object]:
        """Return everything known as JSON values."""
        return {
            "prompt": self.case.title,
            "version": self.case.revision,
            "model": self.setting.model,
            "quality": self.setting.quality,
            "id": self.id,
            "cost_usd": None if self.usd is None else str(self.usd),
            "seconds": self.seconds,
            "cached": bool(self.result and self.result.cached),
            "checks": [each.to_dict() for each in self.checks],
            "error": None if self.error is None else error_to_dict(self.error),
        }


@frozen(kw_only=True)
class Matrix:
    """Every prompt with every setting.

    Attributes:
        cases: The prompts.
        settings: The models and qualities.
        options: Parameters of all.
        checks: Checks of all.
    """

    cases: tuple[Case, ...]
    settings: tuple[Setting, ...]
    options: Mapping[str, Any]
    checks: tuple[AnyCheck, ...]

    @classmethod
    def of(
        cls,
        prompts: Iterable[str | Prompt | Case],
        models: Sequence[str],
        qualities: Sequence[str],
        checks: Sequence[AnyCheck],
        options: Mapping[str, Any],
    ) -> Matrix:
        """Return the matrix, once it is proved to be one.

        Raises:
            InvalidRequestError: A part is missing, comes twice, or is no list.
            ConfigurationError: A check needs a package that is not installed.
        """
        for name, value in (("prompts", prompts), ("models", models), ("qualities", qualities)):
            if isinstance(value, (str, bytes, Prompt)):
                raise _refused(name, f"it is a list: put brackets round {value!r:.60}")
        cases = tuple(each if isinstance(each, Case) else Case(text=each) for each in prompts)
        settings = tuple(
            Setting(model=model, quality=quality)
            for model in models
            for quality in (qualities or (None,))
        )
        for name, found in (("prompts", cases), ("models", settings)):
            if not found:
                raise _refused(name, "there is none")
            if len(set(map(_key, found))) < len(found):
                raise _refused(name, "one of them comes twice, and would be paid twice")
        for name in ("n", "model", "partial_images"):
            if any(options.get(name) or case.options.get(name) for case in cases):
                raise _refused(name, "a comparison sets it itself: one image of each model")
        # One of the two would have no effect.
        if qualities and any({**options, **case.options}.get("quality") for case in cases):
            raise _refused("quality", "the options and the list of qualities both say it")
        known = ("images", *Options.__annotations__, *EditOptions.__annotations__)
        named = [*options, *(name for case in cases for name in case.options)]
        for name in named:
            if name not in known:
                close = closest(name, known)
                raise _refused(name, "it is no parameter" + (f"; {close} is one" if close else ""))
        if len(cases) * len(settings) > MOST:
            raise _refused("prompts", f"{len(cases) * len(settings)} images; {MOST} are the most")
        # What the sheet cannot show, or `check_image` not run, would be noticed once all is paid.
        texts: list[Any] = [text for case in cases for text in (case.name, case.version)]
        if not all(isinstance(text, str) for text in texts):
            raise _refused("prompts", "name and version of a Case are text")
        matrix = cls(
            cases=tuple(
                evolve(case, checks=checked(case.checks)) if case.checks else case for case in cases
            ),
            settings=settings,
            options=options,
            checks=checked(checks) if checks else (),
        )
        for every, request in matrix.checked_requests():
            checked(every, request)
        return matrix

    def checked_requests(self) -> Iterator[tuple[tuple[AnyCheck, ...], Generate]]:
        """Yield the checks of each prompt that has any, with a request in its format."""
        for case in self.cases:
            if every := (*self.checks, *case.checks):
                own = getattr(case.text, "format", None)  # what a template recommends
                format = {"format": own, **self.options, **case.options}["format"]
                yield every, generate_request("any", {"format": format}, default_model="any")

    def requests(
        self, tags: Sequence[str], title: str, store: Store | None
    ) -> list[dict[str, Any]]:
        """Return the arguments of every call, prompt by prompt, with its tags for a store."""
        if not isinstance(title, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise _refused("title", f"it is text, not {title!r:.60}")
        tags = () if store is None else (*tags, tag_of(title))
        found: list[dict[str, Any]] = []
        for case in self.cases:
            for setting in self.settings:
                quality = {} if setting.quality is None else {"quality": setting.quality}
                one = {**self.options, **case.options, "model": setting.model, **quality}
                found.append({**one, "prompt": case.text, **({"tags": tags} if tags else {})})
        return found


def read_set(path: str | os.PathLike[str]) -> tuple[str, list[Case], dict[str, Any]]:
    """Read a file of prompts: its title, its prompts, and the options of all.

    Raises:
        InvalidRequestError: It is no such file, or a key is unknown.
        OSError: It cannot be read.
    """
    file = Path(path)
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeError) as error:
        raise _refused("set", f"{file.name} is no TOML: {error}") from error
    _known(file.name, found, _KEYS)
    rows = array(found.get("prompt"))
    if not rows:
        raise _refused("set", f'{file.name} has no [[prompt]]; each has text = "..."')
    options = _table(file.name, "options", found.get("options", {}))
    cases: list[Case] = []
    for number, row in enumerate(rows, 1):
        where = f"{file.name}, prompt {number}"
        own = dict(_table(where, "prompt", row))
        texts = {name: own.pop(name, "") for name in ("text", "name", "version")}
        for name, text in texts.items():
            if not isinstance(text, str) or (name == "text" and not text.strip()):
                raise _refused("set", f'{where}: write {name} = "..."')
        names: Any = own.pop("checks", [])
        if not isinstance(names, list) or not all(
            isinstance(each, str) for each in cast("list[object]", names)
        ):
            raise _refused("set", f"{where}: checks is a list of texts")
        checks = named_checks(cast("list[str]", names))
        cases.append(Case(**texts, checks=checks, options=own))
    title = found.get("title", file.stem)
    if not isinstance(title, str):
        raise _refused("set", f'{file.name}: write title = "..."')
    return title, cases, options


def _known(where: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise _refused("set", f"{where}: {name!r:.40} is not known; it has {', '.join(known)}")


def _table(where: str, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused("set", f"{where}: {name} is a table")
    return cast("dict[str, Any]", value)


def _key(each: Case | Setting) -> object:
    return (each.title, each.revision) if isinstance(each, Case) else each


def _refused(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}; nothing was sent", field=field)
