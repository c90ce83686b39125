"""Headers a user adds to requests: which are sent, and which would break the request.

A wrong one is found by the HTTP library only when it sends, and not by name; one that says how
the body travels makes a server wait for bytes that never come, or leaves the response unreadable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from gptimage.errors import ConfigurationError


CUSTOM_HEADERS: Final = "OPENAI_CUSTOM_HEADERS"
"""The variable of the SDK that holds headers, one a line."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, 5.6.2
_VALUE: Final = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")  # RFC 9110, 5.5
_BODY: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("content-type", "content-length", "transfer-encoding", "connection", "expect"),
        "it belongs to the request as it is sent",
    ),
    "accept-encoding": "a response that cannot be unpacked would be paid for nothing",
}
_OWN: Final[Mapping[str, str]] = {
    **_BODY,
    **dict.fromkeys(("authorization", "api-key"), "the key is sent by itself"),
    "host": "it belongs to the request as it is sent",
    "x-stainless-raw-response": "the SDK's response is read as it arrives",
}
"""Headers a caller may not set, each with the reason or what to do instead."""


def is_header_name(name: object) -> bool:
    """Return whether it can stand left of the colon."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_header(given: str, name: str, value: object, *, ours: Mapping[str, str] = _OWN) -> str:
    """Return the value of a header, if both can be sent; the value is never shown.

    Args:
        given: The parameter or variable it comes from.
        name: The name, which is one.
        value: What was given for it.
        ours: Headers that may not be set, with the reason.

    Raises:
        ConfigurationError: The value cannot be sent, or the header is not the caller's to set.
    """
    if name.lower() in ours:
        raise ConfigurationError(f"{given} may not set {name}: {ours[name.lower()]}")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        # The value is not shown: it may be a password of a gateway.
        raise ConfigurationError(
            f"{given}: the value of {name} must be one line of printable ASCII text, "
            "without white space around it"
        )
    return value


def custom_headers() -> dict[str, str]:
    """Return the headers in ``OPENAI_CUSTOM_HEADERS`` with lower-case names, as the SDK reads them.

    A line without a colon is none, and the key stays the key.

    Raises:
        ConfigurationError: A name or value cannot be sent.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(os.environ.get(CUSTOM_HEADERS, "").split("\n"), 1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or name.lower() == "authorization":
            continue
        if not is_header_name(name):
            raise ConfigurationError(
                f"{CUSTOM_HEADERS}: line {number} does not begin with the name of a header: "
                "write 'Name: value', one a line"
            )
        found[name.lower()] = check_header(CUSTOM_HEADERS, name, value, ours=_BODY)
    return found
