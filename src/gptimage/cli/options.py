"""The library's parameters and settings as command line options, under the library's names."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.console import read_stdin
from gptimage.errors import ConfigurationError, InvalidRequestError, StoreError
from gptimage.types.parameters import PARAMETERS, Operation, Parameter


if TYPE_CHECKING:
    from gptimage import ImageClient, Prompt
    from gptimage.config import Config
    from gptimage.store import Store
    from gptimage.templates import PromptTemplate


NO_PROMPT: Final = "give a PROMPT, or --template NAME; nothing was sent"
_OTHERWISE: Final = ("prompt", "images", "mask", "markup", "svg")
"""Parameters whose options are not simply their names with dashes."""

_CLIENT_SETTINGS: Final = (
    "provider",
    "sandbox",
    "store",
    "cache",
    "ledger",
    "budget",
    "templates",
    "images_per_minute",
    "chat_model",
)


def add_parameters(
    parser: argparse.ArgumentParser, operation: Operation, *, without: Iterable[str] = ()
) -> None:
    """Add every parameter of an operation.

    Args:
        parser: Where to add them.
        operation: The operation.
        without: Parameters that make no sense for this command.
    """
    group = parser.add_argument_group("parameters of the service")
    for row in PARAMETERS.values():
        if operation in row.operations and row.name not in {*_OTHERWISE, *without}:
            flags = ["-n", "--n"] if row.name == "n" else [f"--{row.name.replace('_', '-')}"]
            group.add_argument(
                *flags,
                type=int if row.kind == "whole" else str,
                metavar=row.metavar,
                help=_help(row),
            )
    group.add_argument("--svg-model", metavar="MODEL", help="Which model writes an svg")
    group.add_argument("--svg-effort", metavar="LEVEL", help="How much it thinks: none to max")


def options_from_args(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments for the library: what was given, nothing else.

    Raises:
        InvalidRequestError: ``--extra-body`` is not a JSON object.
    """
    names = [name for name in PARAMETERS if name not in _OTHERWISE]
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    if "extra_body" in given:
        given["extra_body"] = _object(given["extra_body"])
    svg: dict[str, object] = {}
    if getattr(args, "svg_model", None) is not None:
        svg["model"] = args.svg_model
    if getattr(args, "svg_effort", None) is not None:
        svg["reasoning"] = {"effort": args.svg_effort}
    return {**given, "svg": svg} if svg else given


def read_prompt(text: str) -> str:
    """Return the prompt itself; ``-`` reads it from standard input."""
    if text == "-":
        return read_stdin().strip()
    with contextlib.suppress(UnicodeError):  # a locale of ASCII knows no letters, UTF-8 does
        text = os.fsencode(text).decode()
    return text.removeprefix("\ufeff")


def prompt_from_args(args: argparse.Namespace, config: Config) -> str | Prompt:
    """Return the prompt, or the rendered template.

    Raises:
        InvalidRequestError: Neither is given, or both are.
        TemplateError: There is no such template, or an argument is wrong.
    """
    if args.template is None:
        if args.prompt is None:
            raise InvalidRequestError(NO_PROMPT, field="prompt")
        return _branded(read_prompt(args.prompt), args, config)
    if args.prompt is not None:
        raise InvalidRequestError(
            "PROMPT and --template both say what to draw: leave one out; nothing was sent",
            field="prompt",
        )
    template, arguments = template_from_args(args, config)
    if getattr(args, "brand_image", None):
        raise InvalidRequestError(
            "--brand-image is for a PROMPT: a template names its images itself; nothing was sent",
            field="brand_image",
        )
    return template.render(arguments)


def _branded(prompt: str, args: argparse.Namespace, config: Config) -> str | Prompt:
    """Return the prompt with the images of the brand that ``--brand-image`` names."""
    from gptimage.engine.from_config import open_templates

    names = getattr(args, "brand_image", None)
    if not names:
        return prompt
    brand = open_templates(config).brand
    if brand is None:
        raise InvalidRequestError(
            "--brand-image needs a brand.toml: name its folder with --templates; nothing was sent",
            field="brand_image",
        )
    return brand.prompt(prompt, *names)


def template_from_args(
    args: argparse.Namespace, config: Config
) -> tuple[PromptTemplate, dict[str, str]]:
    """Return the template that ``--template`` names, and its arguments."""
    from gptimage.engine.from_config import open_templates

    name, *words = args.template
    return open_templates(config)[name], key_values(words)


def key_values(words: Iterable[str]) -> dict[str, str]:
    """Read ``key=value`` words as a mapping.

    Raises:
        InvalidRequestError: One is written otherwise, or given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key in found:
            problem = "is given twice" if equals else "is not KEY=VALUE, such as title='Launch day'"
            raise InvalidRequestError(
                f"{key!r} {problem}", field=key, value=word, allowed="KEY=VALUE"
            )
        found[key] = value
    return found


def configure(args: argparse.Namespace) -> Config:
    """Read the configuration with the options of this command on top.

    Raises:
        ConfigurationError: A setting cannot be used; nothing was sent.
        InvalidRequestError: An option cannot be used; nothing was sent.
    """
    config = read_settings({name: getattr(args, name, None) for name in _CLIENT_SETTINGS})
    for note in config.notes:
        print(f"note: {note}", file=sys.stderr)
    return config


def read_settings(options: Mapping[str, str | bool | None]) -> Config:
    """Read the configuration with these options on top.

    Raises:
        ConfigurationError: A setting cannot be used; nothing was sent.
        InvalidRequestError: An option cannot be used; nothing was sent.
    """
    from gptimage.config import load

    try:
        return load(options)
    except ConfigurationError as error:
        load({})  # a setting that is wrong without the options, too, is the one to name
        field = str(error).removeprefix("--").partition(":")[0].replace("-", "_")
        raise InvalidRequestError(str(error), field=field) from error


@contextlib.contextmanager
def opening(name: str, *, option: bool) -> Generator[None]:
    """Make it bad input when the place that an option names cannot be used.

    Args:
        name: The setting.
        option: Whether an option names the place; where a file or a variable does, the error stays
            one of the configuration.

    Raises:
        InvalidRequestError: An option names it, and it cannot be opened; nothing was sent.
    """
    try:
        yield
    except (ConfigurationError, StoreError, OSError) as error:
        if not option:
            raise
        raise InvalidRequestError(f"--{name}: {error}", field=name) from error


def open_client(config: Config, *, store: Store | None = None, **settings: Any) -> ImageClient:
    """Open the client a configuration describes: of the service, or of the offline sandbox.

    Args:
        config: The configuration.
        store: A store to save in instead of the configured one.
        **settings: Settings that beat it.

    Raises:
        ConfigurationError: The service is meant and there is no key.
        InvalidRequestError: The place that an option names cannot be used.
    """
    from gptimage import ImageClient
    from gptimage.engine.from_config import client_arguments

    if config.lacks_key:
        raise ConfigurationError(
            "no key: set the environment variable OPENAI_API_KEY (or OPENAI_API_KEY_FILE) to use "
            "the service, or add --sandbox to try everything without one"
        )
    make: Any = ImageClient.sandbox if config.sandbox else ImageClient
    off = {name for name in ("store", "cache", "ledger") if not _works(name, config)}
    arguments = client_arguments(config, settings, without=off if store is None else {"store"})
    client: ImageClient = make(**(arguments if store is None else {**arguments, "store": store}))
    return client


def _works(name: str, config: Config) -> bool:
    """Return whether the usual store or ledger can be used; one that is named must work.

    An account may have no home, or a disk that takes nothing: what nobody named must not keep a
    person from an image. What an option names is tried before anything is sent or paid.
    """
    usual = config.origin(name) == "default"
    option = is_option(name, config)
    if not usual and not option:
        return True
    try:
        with opening(name, option=option):
            _try(name, config)
    except (StoreError, ConfigurationError, OSError) as error:
        if not usual:
            raise
        print(f"note: nothing is saved in the usual {name}: {error}", file=sys.stderr)
        return False
    return True


def _try(name: str, config: Config) -> None:
    from gptimage.engine.from_config import open_cache, open_ledger, open_store

    if name == "store" and (store := open_store(config)):
        store.close()
    elif name == "ledger" and (ledger := open_ledger(config)):
        ledger.spent()
        ledger.close()
    elif name == "cache" and (cache := open_cache(config)):
        cache.close()
        check_cache_folder(config)


def check_cache_folder(config: Config) -> None:
    """See that the cache is no file: one that fails is a note, one that cannot work a mistake.

    Raises:
        ConfigurationError: It is a file.
    """
    folder = config.place("cache")
    if folder is not None and Path(folder).exists() and not Path(folder).is_dir():
        raise ConfigurationError(f"{folder} is no folder; nothing was sent")


def is_option(name: str, config: Config) -> bool:
    """Return whether an option names this place; a part that buckets need is configuration."""
    return config.origin(name).startswith("--") and "://" not in (config.text(name) or "")


def _help(row: Parameter) -> str:
    extra = f" ({row.allowed})" if row.allowed and row.allowed not in row.help else ""
    return f"{row.help}{extra}".replace("%", "%%")


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
