"""Opens the client a command asked for: the service, or the offline sandbox."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from gptimage import ImageClient
    from gptimage.engine.config import Settings
    from gptimage.limits import Limits
    from gptimage.store import Store


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
