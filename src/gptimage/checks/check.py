"""What a check is, what it finds, and how several are run on one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self, TypeAlias, cast

from attrs import Factory, field, frozen

from gptimage._internal.text import reason, shorten
from gptimage.errors import InvalidRequestError
from gptimage.image.image import Image
from gptimage.models.pricing import FREE, Cost
from gptimage.types.request import Generate


@frozen(kw_only=True)
class CheckResult:
    """What a check found.

    Attributes:
        name: The check, such as ``transparent``.
        passed: Whether the image is as it should be.
        reason: Why, in one sentence.
        score: How good it is, 0 to 1; decides between images that fail as many checks.
        cost: What it cost in USD: 0 unless a model was asked; None when that is not known.
        error: What the check raised; it counts as failed then.
    """

    name: str
    passed: bool
    reason: str
    score: float = field(default=Factory(lambda self: float(self.passed), takes_self=True))
    cost: Cost | None = FREE
    error: Exception | None = field(default=None, eq=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return what was found as JSON values."""
        return {
            "name": self.name,
            "passed": self.passed,
            "reason": self.reason,
            "score": round(self.score, 4),
            "cost_usd": None if self.cost is None else str(self.cost.usd),
        }


class Check(Protocol):
    """A check of an image: anything with a name that can be called with one.

    Where a check also has a method ``of(request)``, it is called with the `gptimage.Generate` or
    `gptimage.Edit` that is to be drawn, and returns the check to use: that is where what no image
    of the request could pass is refused. A method ``prepare()`` is called after it, and notices a
    missing package. Both are called before anything is sent or paid, and may raise.
    """

    @property
    def name(self) -> str:
        """What it is called in results, such as ``transparent``."""
        ...

    def __call__(self, image: Image, /) -> CheckResult:
        """Look at an image. What this raises counts as failed and never loses the image."""
        ...


@frozen
class Question:
    """A yes-or-no question about an image to the chat model of the client; yes passes.

    It is one paid turn for each image, in the client's budget and ledger; see
    `gptimage.ImageClient.check`.

    Attributes:
        text: The question, such as ``Are all five fingers there?``.
        name: What it is called in results.
        chat_model: The model that looks; the client's when left out.
    """

    text: str
    name: str = field(default="question", kw_only=True)
    chat_model: str | None = field(default=None, kw_only=True)


AnyCheck: TypeAlias = Check | Question | Callable[[Image], "CheckResult | bool"]
"""A check, a question to a vision model, or a function that returns whether an image is good."""


@frozen
class PixelCheck:
    """The base of checks that decode an image."""

    def of(self, request: Generate) -> Self:
        """Refuse to look at pixels that there will be none of.

        Raises:
            InvalidRequestError: An svg is to be drawn.
        """
        if request.format == "svg":
            name = getattr(self, "name", type(self).__name__)
            raise cannot_pass(name, "it looks at pixels, and an svg has none", "png, jpeg or webp")
        return self


def cannot_pass(name: str, problem: str, formats: str) -> InvalidRequestError:
    """Return the error about a check that no image of the request could pass."""
    return InvalidRequestError(
        f"the check {name}: {problem}; draw {formats}, or leave this check out; nothing was sent",
        field="checks",
        value=name,
        allowed=f"the format {formats}",
    )


def checked(checks: object, request: Generate | None = None) -> tuple[AnyCheck, ...]:
    """Return the checks, once they are proved to be usable, before anything is sent.

    Args:
        checks: The checks.
        request: What is to be drawn and checked; None for an image that is there.

    Raises:
        InvalidRequestError: There is none, one cannot be called, or no image could pass it.
        ConfigurationError: One needs a package that is not installed.
    """
    given = cast("Any", checks)
    several = isinstance(checks, Iterable) and not isinstance(checks, (str, bytes))
    found: tuple[Any, ...] = tuple(given) if several else (given,)
    wrong = [each for each in found if not callable(each) and not isinstance(each, Question)]
    wrong += [each for each in found if isinstance(each, type)]  # Transparent, for Transparent()
    if wrong or not found:
        shown = f"{wrong[0]!r:.80} is none" if wrong else "there is none"
        raise InvalidRequestError(
            f"checks is a list of checks, and {shown}; nothing was sent",
            field="checks",
            value=wrong[0] if wrong else (),
            allowed="such as [Transparent(), Words('OPEN'), Question('Is there a fox?')]",
        )
    if request is not None:
        found = tuple(each.of(request) if hasattr(each, "of") else each for each in found)
    for each in found:
        if isinstance(each, Question):
            words = cast("object", each.text)
            if not (isinstance(words, str) and words.strip()):
                raise InvalidRequestError(
                    f"a Question needs a text, and {words!r:.80} is none; nothing was sent",
                    field="checks",
                )
        prepare = getattr(each, "prepare", None)
        if prepare is not None:
            prepare()
    return found


def run_check(check: Check | Callable[[Image], CheckResult | bool], image: Image) -> CheckResult:
    """Run a check; what it raises is a finding: an image that was paid for is never lost by it."""
    name = getattr(check, "name", None) or getattr(check, "__name__", type(check).__name__)
    try:
        found = check(image)
    except Exception as error:  # noqa: BLE001  # whatever it is, the image comes first
        return failed(str(name), error)
    if isinstance(found, CheckResult):
        return found
    if not isinstance(found, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        wrong = TypeError(f"it returned {found!r:.80}, which is neither a CheckResult nor a bool")
        return failed(str(name), wrong)
    says = "it is as it should be" if found else "it is not as it should be"
    return CheckResult(name=str(name), passed=found, reason=says)


def failed(name: str, error: Exception, cost: Cost | None = FREE) -> CheckResult:
    """Return the finding of a check that raised."""
    words = shorten(" ".join(reason(error).split()), 300)
    return CheckResult(
        name=name,
        passed=False,
        reason=f"the check failed itself: {words}",
        cost=cost,
        error=error,
    )
