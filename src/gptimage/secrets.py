"""One rule that takes keys, passwords and tokens out of what leaves: errors, reprs, logs, output.

A secret is known in two ways: by its shape (``sk-...``, ``Bearer ...``, the password of an
address), or because it was given to a client, a cache or a limit, which `remember` it.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, unquote, urlsplit


if TYPE_CHECKING:
    import logging
    import re
    from collections.abc import Callable, Collection


MASK: Final = "…"
"""What stands where a secret stood."""

_SHORTEST: Final = 8
"""Characters; a shorter one, or a plain word such as ``sandbox``, would blank ordinary text."""

_FEWEST: Final = 12
"""Characters of a prompt that are hidden anywhere; fewer, such as "A fox", are ordinary text."""

_QUOTES: Final = ("''", '""', "``", "“”", "‘’", "«»", ('\\"', '\\"'))
"""Beginning and end of a quotation; the last is one in JSON in a text."""

_MOST: Final = 1000
"""Secrets remembered; a server that is given one for each user must not grow for ever."""

_SHAPES: Final = r"""
      \b(?:sk|sess|pk|rk|xai|gsk|ghp|hf)[-_][\w-]{8,}    # what keys of many services look like
    | \bAIza[\w-]{20,}
    | \bAKIA[0-9A-Z]{16}
    | \beyJ[\w-]{8,}\.[\w-]{4,}[\w.-]*                   # a JSON Web Token
    | (?<=Bearer\s)(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}
    | (?<=Basic\s)(?=[\w+/]*[\d+/=])[\w+/=]{8,}
    | (?<=uthorization:\sBearer\s)[^\s"'<>]{8,}          # in a header whatever it looks like
    | (?<=uthorization:\sBasic\s)[^\s"'<>]{8,}
    | (?<=://)[^/\s?\#@"'<>]+(?=@)                       # user and password of a URL
    | (?<=://)[^/\s:@]*:(?!\d{1,5}(?:[/?\#]|$))[^\s"'<>]*(?=@)  # with a bare / or ? in it
"""
_FIELDS: Final = r"""
    ( [?&;](?:[\w-]*(?:key|token|secret|signature|password)|sig|pwd|code)=
    | \b(?:(?:proxy-)?authorization|(?:x-)?api[-_]?key|ocp-apim-subscription-key|(?:set-)?cookie)
      b?['"]?\s*[:=,]\s*b?['"]?(?:(?:Bearer|Basic)\s+)?(?=[^\s'"&]*\d)(?=[^\s'"&]{12})
    )
    [^&\s"'<>\#,;)}]+
"""

_HOST: Final = r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?"

_known: dict[str, int] = {}
"""What is masked, and when it was last remembered; in the order it first was."""

_times: Final = count()

_DEEPEST: Final = 40

LOGGERS: Final = (
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
    "httpx",
    "httpx2",
    "openai",
    "openai._base_client",
    "openai._legacy_response",
    "openai._response",
    "redis",
    "redis.client",
)
"""Loggers of others who tell addresses and headers; a filter holds for one name, not for those
below it."""


def scrub(text: str) -> str:
    """The text with every secret masked; whatever looks like one, and whatever was remembered."""
    for secret in tuple(_known):
        if secret in text:
            text = text.replace(secret, MASK)
    shapes, fields = _patterns()
    return shapes.sub(MASK, fields.sub(rf"\1{MASK}", text))


def remember(secret: str | None) -> None:
    """Mask this one from now on, also where it is percent-encoded or escaped."""
    for whole in {secret or "", (secret or "").strip()}:
        if len(whole) < _SHORTEST or (whole.isalpha() and whole.islower()):
            continue
        forms = {whole, quote(whole, safe=""), quote(whole), repr(whole)[1:-1], unquote(whole)}
        # Without a lock, which a fork could leave locked in the child; what is known already stays
        # known meanwhile, for other threads are masking.
        for form in sorted(forms, key=len):
            _known[form] = next(_times)
        if len(_known) > _MOST:
            for oldest in sorted(_known, key=lambda each: _known.get(each, 0))[:-_MOST]:
                _known.pop(oldest, None)


def remember_url(url: str) -> None:
    """Mask the password of this address from now on, and what stands for it in a header."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:  # no address at all; its shape is all there is to go by
        return
    remember(password)
    if password:
        both = f"{unquote(user)}:{unquote(password)}".encode()
        remember(base64.b64encode(both).decode())


def display_url(url: str) -> str:
    """Return the URL without user name, password, query and fragment, printable and short."""
    import re

    scheme, slashes, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("//")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if not re.fullmatch(_HOST, host):  # the "port" may be half of a password that holds a / or ?
        host, slash, path = "…", "", ""
    text = f"{scheme}{slashes}{host}{slash}{path}"
    return "".join(c if c.isprintable() else "�" for c in text[:200])


def scrub_error(error: BaseException | None) -> None:
    """Mask the secrets in another library's exception, in its notes, causes and contexts.

    It is changed where it stands: a traceback prints the whole chain, and only so does the
    chain stay what it was.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += (each.__cause__, each.__context__, *getattr(each, "exceptions", ()))
        _put(each, "args", scrub_value(each.args))
        for name in ("strerror", "filename"):  # of which the message of an OSError is made
            if isinstance(text := getattr(each, name, None), str):
                _put(each, name, scrub(text))
        for name, value in list(vars(each).items()):  # __notes__ are among them
            if isinstance(value, (str, bytes, list, tuple, dict)):
                vars(each)[name] = scrub_value(cast("object", value))


def hide_prompt(error: BaseException, prompt: str) -> None:
    """Take the prompt out of what a service says of it: errors end in logs.

    A prompt of a few characters may be a word of any sentence: it is taken out between quotation
    marks alone.
    """
    forms = {prompt, " ".join(prompt.split()), repr(prompt)[1:-1], json.dumps(prompt)[1:-1]}
    long = {form for form in forms if len(form) >= _FEWEST}

    def clean(text: str) -> str:
        for form in forms - long - {""}:
            for begin, end in _QUOTES:
                text = text.replace(f"{begin}{form}{end}", f"{begin}<prompt>{end}")
        return _without(text, long)

    _put(error, "args", scrub_value(error.args, clean))
    for name in ("body", "param"):
        if hasattr(error, name):
            _put(error, name, scrub_value(getattr(error, name), clean))


def _put(error: BaseException, name: str, value: object) -> None:
    """Change an exception where it stands; a frozen class does not keep it from that."""
    with suppress(AttributeError):  # it is a property: what it is made of is masked itself
        BaseException.__setattr__(error, name, value)


def _without(text: str, forms: Collection[str]) -> str:
    """Return the text without the words, also where they are cut short: messages are."""
    done = ""
    heads = {form[:_FEWEST] for form in forms}
    while starts := [at for head in heads if (at := text.find(head)) >= 0]:
        start = min(starts)
        rest = text[start:]
        # Of forms that begin alike one goes on where another ends, such as at a line break.
        same = max(_same(rest, form) for form in forms)
        done += f"{text[:start]}<prompt>"
        text = rest[same:]
    return done + text


def _same(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def scrub_value(value: object, clean: Callable[[str], str] = scrub, depth: int = 0) -> Any:
    """Any JSON value with the secrets of its texts masked; what is nested too deep is left out."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        safe = clean(text)
        return value if safe == text else safe.encode()
    if not isinstance(value, (list, tuple, dict)):
        return value
    if depth >= _DEEPEST:
        return MASK
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        return {name: scrub_value(each, clean, depth + 1) for name, each in members.items()}
    several = [scrub_value(each, clean, depth + 1) for each in cast("list[object]", value)]
    return several if isinstance(value, list) else tuple(several)


def guard_logs(*more: str) -> None:
    """Mask secrets in what other libraries log, whatever level their loggers are set to.

    Args:
        *more: Names of loggers besides `LOGGERS`.
    """
    import logging

    for name in (*LOGGERS, *more):
        logger = logging.getLogger(name)
        if mask_record not in logger.filters:
            logger.addFilter(mask_record)


def mask_record(record: logging.LogRecord) -> bool:
    """Mask the secrets of a log record and let it pass: a filter for loggers and handlers."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  # a wrong format string: whoever prints it says so
        return True
    if (safe := scrub(text)) != text:
        record.msg, record.args = safe, ()
    if record.exc_info and not record.exc_text:
        scrub_error(record.exc_info[1])
    return True


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    import re  # compiled at the first message: nothing needs them before

    return re.compile(_SHAPES, re.VERBOSE), re.compile(_FIELDS, re.VERBOSE | re.IGNORECASE)
