"""Values of options as people write them: ages, times, sizes, ports and more."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Any

from gptimage._internal.clock import utc_now
from gptimage._internal.text import BYTES, SECONDS, measured
from gptimage.errors import ConfigurationError, InvalidRequestError


def age(text: str) -> timedelta:
    """Read a length of time such as ``12h``; units are s, m, h, d and w.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise.
    """
    found = measured(text, SECONDS)
    if found is None:
        raise argparse.ArgumentTypeError(f"write an age as 90s, 30m, 12h or 7d, not {text!r}")
    try:
        return timedelta(seconds=found)
    except OverflowError as error:
        raise argparse.ArgumentTypeError(f"nothing is as old as {text}") from error


def moment(text: str) -> datetime:
    """Read a time such as ``2026-11-20`` or ``2026-11-20T12:00``, or an age such as ``7d``.

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return utc_now() - age(text)
    except (argparse.ArgumentTypeError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"write a time as 2026-11-20, 2026-11-20T12:00 or 7d, not {text!r}"
        ) from error


def size(text: str) -> int:
    """Read a number of bytes such as ``10GB``, ``500 MB`` or ``12345``.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise.
    """
    found = measured(text, {"": 1, **BYTES})
    if found is None:
        raise argparse.ArgumentTypeError(f"write a size as 10GB, 500MB or 12345, not {text!r}")
    return int(found)


def port(text: str) -> int:
    """Read a port.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds.

    Raises:
        argparse.ArgumentTypeError: It is none, or longer than a day.
    """
    found = float(text)
    if not 0 <= found <= 86_400:
        raise argparse.ArgumentTypeError(f"write seconds from 0 to 86400, not {text!r}")
    return found


def provider_name(text: str) -> str:
    """Return the name of a provider that this library knows.

    Raises:
        argparse.ArgumentTypeError: There is none of that name.
    """
    from gptimage.providers import provider

    try:
        provider(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def widths(text: str) -> list[int]:
    """Return whole numbers between commas."""
    return [int(each) for each in text.split(",")]


def drift(text: str) -> tuple[str, float]:
    """Read how the sandbox changes what a mask protects, such as ``tint=0.3``.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise, or there is no such change.
    """
    from gptimage.sandbox import Sandbox

    name, _, number = text.partition("=")
    try:
        found: Any = {name: float(number)}
        Sandbox(drift=found)
    except (ValueError, ConfigurationError):
        kinds = "repaint=12, tint=0.3 or shift=3"
        raise argparse.ArgumentTypeError(f"{text!r} is no KIND=AMOUNT, such as {kinds}") from None
    return name, found[name]


def failure_rates(text: str) -> dict[str, float]:
    """Read the share of the sandbox's requests that fail, such as ``cut=0.02,server=0.1``.

    Raises:
        argparse.ArgumentTypeError: It is written otherwise, or there is no such failure.
    """
    from gptimage.sandbox.failures import read_rates

    try:
        return read_rates(text)
    except InvalidRequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
