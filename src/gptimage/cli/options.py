"""The library's parameters as command line options, under the library's names."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from gptimage.cli.console import read_stdin
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage import ImageClient
    from gptimage.engine.config import Settings
    from gptimage.limits import Limits
    from gptimage.store import Store


_PLAIN: Final = (
    ("--model", str, "MODEL", "image model; `gptimage models` lists them"),
    ("--size", str, "SIZE", "1920x1080, 16:9, landscape, og_image, auto...: exactly these pixels"),
    ("--quality", str, "QUALITY", "low, medium, high, xhigh, max or auto"),
    ("--background", str, "KIND", "transparent (png, webp), opaque or auto"),
    ("--format", str, "FORMAT", "png, jpeg, webp, gif or svg; else what --output ends in"),
    ("--compression", int, "PERCENT", "0 to 100, for jpeg and webp"),
    ("--moderation", str, "LEVEL", "auto, or low for less filtering"),
    ("--complexity", str, "LEVEL", "low, medium or high: how much the model plans (2.6)"),
    ("--safety-identifier", str, "ID", "a stable, hashed id of your end user"),
    ("--frame-count", int, "N", "frames of a gif, 2 to 16"),
    ("--frame-duration-ms", int, "MS", "milliseconds each gif frame is shown"),
)
_SVG: Final = (
    ("--svg-model", str, "MODEL", "which model writes an svg, where that may be chosen"),
    ("--svg-effort", str, "LEVEL", "how much that model thinks: none to max"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the prompt and every parameter `generate`, `edit` and `estimate` share."""
    parser.add_argument("prompt", metavar="PROMPT", help="what to draw; - reads standard input")
    group = parser.add_argument_group("parameters of the service")
    group.add_argument("-n", "--n", type=int, metavar="N", help="how many pictures, 1 to 10")
    for flag, kind, metavar, help_text in _PLAIN + _SVG:
        group.add_argument(flag, type=kind, metavar=metavar, help=help_text)
    group.add_argument(
        "--partial-images", type=int, metavar="N", help="stream, and keep N previews (0 to 3)"
    )
    group.add_argument(
        "--extra-body", metavar="JSON", help="wire fields this version does not know, as an object"
    )


def options_from_args(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments for the library: what was given, nothing else.

    Raises:
        InvalidRequestError: ``--extra-body`` is not a JSON object.
    """
    names = ["n", "partial_images", *(flag[2:].replace("-", "_") for flag, *_ in _PLAIN)]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if svg := _svg(args):
        given["svg"] = svg
    if args.extra_body is not None:
        given["extra_body"] = _object(args.extra_body)
    return given


def read_prompt(text: str) -> str:
    """The prompt itself; ``-`` reads it from standard input."""
    if text == "-":
        return read_stdin().strip()
    with contextlib.suppress(UnicodeError):  # a locale of ASCII knows no letters, UTF-8 does
        text = os.fsencode(text).decode()
    return text.removeprefix("\ufeff")


def _svg(args: argparse.Namespace) -> dict[str, object]:
    found: dict[str, object] = {}
    if args.svg_model is not None:
        found["model"] = args.svg_model
    if args.svg_effort is not None:
        found["reasoning"] = {"effort": args.svg_effort}
    return found


def _object(text: str) -> dict[str, object]:
    try:
        return dict(json.loads(text).items())
    except (ValueError, AttributeError):
        raise InvalidRequestError(
            "--extra-body must be a JSON object",
            field="extra_body",
            value=text,
            allowed='such as {"field": 1}',
        ) from None


# Opens the client a command asked for: the service, or the offline sandbox.


def add_sandbox_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--sandbox``."""
    parser.add_argument(
        "--sandbox",
        action="store_true",
        default=os.environ.get("GPTIMAGE_SANDBOX", "") not in {"", "0"},
        help="draw offline: no key, no network, no cost (also GPTIMAGE_SANDBOX=1)",
    )


def open_client(
    *, sandbox: bool, store: Store | None = None, limits: Limits | None = None
) -> ImageClient:
    """The client for this command.

    Args:
        sandbox: Draw offline.
        store: Where it saves every picture.
        limits: How fast to ask.

    Raises:
        ConfigurationError: The service is meant and there is no key.
    """
    from gptimage import ConfigurationError, ImageClient

    settings: Settings = {} if limits is None else {"limits": limits}
    if sandbox:
        return ImageClient.sandbox(store=store, **settings)
    if not os.environ.get("OPENAI_API_KEY"):
        raise ConfigurationError(
            "no key: set the environment variable OPENAI_API_KEY to use the service, "
            "or add --sandbox to try everything without one"
        )
    return ImageClient(store=store, **settings)


# What argparse hands to every command module.
#
# A command module has ``add_parser(subparsers)``, which sets ``func`` to a function that
# takes the parsed arguments and returns an exit code.


class Subparsers(Protocol):
    """What ``ArgumentParser.add_subparsers()`` returns; its own class has a private name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a sub-command and return its parser."""
        ...
