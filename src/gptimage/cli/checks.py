"""``gptimage check``, and the options with which ``generate`` and ``edit`` check what they draw."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from gptimage._internal.clock import utc_now
from gptimage.cli.json_output import show
from gptimage.cli.options import configure, open_client
from gptimage.cli.output import Progress
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from gptimage import ImageClient, Prompt
    from gptimage.checks import AnyCheck, Attempts, CheckResult


CHECK_FAILED: Final = 6
"""The exit code when an image fails a check: it is there, and paid."""


def run_check(args: argparse.Namespace) -> int:
    """Check files; only ``ask=`` sends anything."""
    from gptimage.checks import Question, named_checks
    from gptimage.checks.check import checked, run_check
    from gptimage.image import Image

    checks = checked(named_checks(args.check, files=True))
    images = [(each, Image.from_path(each)) for each in args.file]
    local = [each for each in checks if not isinstance(each, Question)]
    if len(local) == len(checks):
        _refuse_settings(args)
    if len(local) < len(checks):
        price, shown = question_price(args, checks, len(images)), Progress()
        with open_client(configure(args), observers=[shown]) as client, shown(f"{price} ..."):
            found = [(path, client.check(image, checks)) for path, image in images]
    else:  # no client, and so no key, is needed
        found = [(path, tuple(run_check(each, image) for each in local)) for path, image in images]
    passed = all(each.passed for _, results in found for each in results)
    rows = [
        {"path": str(path), "checks": [each.to_dict() for each in results]}
        for path, results in found
    ]
    texts = [f"{path}  {line}" for path, results in found for line in lines(results)]
    show(args, {"passed": passed, "files": rows}, *texts)
    return 0 if passed else CHECK_FAILED


def _refuse_settings(args: argparse.Namespace) -> None:
    for name in ("provider", "ledger", "budget"):
        if getattr(args, name) is not None:
            raise InvalidRequestError(
                f"--{name} has no effect without --check ask=QUESTION, which alone is sent and "
                "paid: leave it out; nothing was sent",
                field=name,
            )


def attempts_from_args(
    client: ImageClient,
    prompt: str | Prompt,
    options: dict[str, Any],
    args: argparse.Namespace,
    checks: Sequence[AnyCheck],
) -> Attempts:
    """Draw as ``--until`` or ``--best-of`` say.

    Raises:
        GptImageError: As ``client.until`` and ``client.best_of``.
    """
    images = options.pop("images", None)
    if args.best_of is not None:
        return client.best_of(prompt, images, checks=checks, **with_number(options, args))
    most = 1 if args.until is None else args.until
    return client.until(prompt, images, checks=checks, most=most, **options)


def checks_from_args(args: argparse.Namespace) -> list[AnyCheck]:
    """Return the checks of ``--check``, once they are proved to make sense.

    Raises:
        InvalidRequestError: One makes none.
    """
    texts = getattr(args, "check", None)
    if not texts:  # most calls check nothing, and need not load it
        return []
    from gptimage.checks import named_checks

    return named_checks(texts, files=True)


def refuse_check_options(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect, before anything is sent.

    Raises:
        InvalidRequestError: One would have none.
    """
    if not hasattr(args, "check"):
        return
    several = args.until is not None or args.best_of is not None
    clashes = {
        "--until and --best-of: take one of them": None not in {args.until, args.best_of},
        "--best-of says how many images: leave out -n": None not in {args.best_of, args.n},
        "--until and --best-of need a --check": several and not args.check,
        "--check shows no previews: leave out --partial-images": bool(args.check)
        and args.partial_images is not None,
    }
    for problem, is_so in clashes.items():
        if is_so:
            raise InvalidRequestError(f"{problem}; nothing was sent", field="check")


def with_number(options: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return the options with the number of images that ``--best-of`` draws."""
    number = getattr(args, "best_of", None)
    return options if number is None else {**options, "n": number}


def question_price(args: argparse.Namespace, checks: Sequence[AnyCheck], images: int) -> str:
    """Return the most that questions about so many images cost, in words; empty without any."""
    if not checks:
        return ""
    from gptimage.checks import Question, max_question_cost
    from gptimage.models.pricing import format_usd

    if not any(isinstance(each, Question) for each in checks):
        return ""
    chat_model = configure(args).text("chat_model")
    most = max_question_cost(checks, images, utc_now().date(), chat_model)
    return f"questions {'of unknown cost' if most is None else f'at most {format_usd(most)}'}"


def times(args: argparse.Namespace) -> str:
    """Return how often is drawn, in words before the price of one call."""
    until = getattr(args, "until", None)
    return f"up to {until} times, each " if until is not None and until > 1 else ""


def lines(results: Sequence[CheckResult]) -> list[str]:
    """Return one line for each check."""
    return [f"{'ok' if each.passed else 'FAILED':<7}{each.name}: {each.reason}" for each in results]
