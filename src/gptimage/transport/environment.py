"""The environment's settings of a connection, checked before anything is sent.

The SDK and its HTTP library read these variables when they are made, and fail with words that name
no variable: a proxy without a package, a certificate that is not there, a key in quotation marks.
"""

from __future__ import annotations

import base64
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from gptimage._internal.atomic import open_file
from gptimage.errors import ConfigurationError
from gptimage.secrets import display_url, remember, remember_url
from gptimage.transport.headers import CUSTOM_HEADERS, custom_headers


_PROXIES: Final = ("http", "https", "all")
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_HEADERS: Final = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""The SDK sends these as ``OpenAI-Organization`` and ``OpenAI-Project``."""

_READ: Final = (
    *(f"{name.upper()}_PROXY" for name in _PROXIES),
    *(f"{name}_proxy" for name in _PROXIES),
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    CUSTOM_HEADERS,
)
KEY: Final = "OPENAI_API_KEY"
_FILE: Final = "_FILE"
"""What ends the name of a variable whose value names a file with the key: secrets are mounted into
containers as files."""

_LARGEST_KEY: Final = 1 << 14
_UNREAD: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Read by other HTTP libraries, so people set them and expect them to hold."""

_OPERATIONS: Final = (
    "/images/generations",
    "/images/edits",
    "/chat/completions",
    "/responses",
    "/embeddings",
)


def check_key(name: str, key: object) -> str:
    """Return the key, if it can be sent in a header; it is never shown.

    Args:
        name: Where it comes from: a parameter or a variable.
        key: What was given.

    Raises:
        ConfigurationError: It cannot.
    """
    if not isinstance(key, str):
        advice = ": a function goes to openai=OpenAI(api_key=...)" if callable(key) else ""
        raise ConfigurationError(f"{name} must be text, not {type(key).__name__}{advice}")
    remember(key)
    if key.strip().lower().startswith("bearer "):
        raise ConfigurationError(f"{name} begins with 'Bearer': give the key alone")
    _header(name, key)
    return key


def environment_key(*names: str) -> tuple[str, str | None]:
    """Return the variable that gives the key, and the key or None.

    Args:
        *names: The variables, the first that is set counts; OpenAI's when left out.

    Raises:
        ConfigurationError: A variable and the one of its file are both set, or the file cannot be
            used.
    """
    for name in names or (KEY,):
        key, file = os.environ.get(name), os.environ.get(f"{name}{_FILE}")
        if key and file:
            raise ConfigurationError(f"{name} and {name}{_FILE} are both set: keep one of them")
        if file:
            return f"{name}{_FILE}", _key_in(f"{name}{_FILE}", file)
        if key is not None:
            return name, key
    return (names or (KEY,))[0], None


def _key_in(name: str, file: str) -> str:
    """Return the key in the file a variable names."""
    try:
        with open_file(Path(file).expanduser()) as opened:
            found = opened.read(_LARGEST_KEY + 1).decode("utf-8-sig").strip()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            f"{name}: {file} cannot be read ({why}): name a file that holds the key alone"
        ) from None
    if not found or len(found) > _LARGEST_KEY:
        raise ConfigurationError(f"{name}: {file} does not hold a key")
    return found


def check_url(name: str, url: object) -> str:
    """Return the address of a service, if it is one.

    Raises:
        ConfigurationError: It is none; its password is not shown.
    """
    text = url if isinstance(url, str) else str(url) if hasattr(url, "scheme") else None
    if text is None:
        raise ConfigurationError(f"{name} must be text, not {type(url).__name__}")
    remember_url(text)
    example = "such as https://api.openai.com/v1"
    if not text:
        raise ConfigurationError(
            f"{name} is empty: leave it out for OpenAI itself, or give an address {example}"
        )
    given = f"{name}={display_url(text)!r}"
    if any(char.isspace() or not char.isprintable() for char in text) or text[0] in "\"'":
        raise ConfigurationError(f"{given} has white space or quotation marks in it: take them out")
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or not _is_host(parts.hostname):
        raise ConfigurationError(f"{given} is no address of a service: write one {example}")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{given} may have no ? or # part: nothing would come of it")
    for operation in _OPERATIONS:
        if parts.path.rstrip("/").endswith(operation):
            raise ConfigurationError(f"{given} ends with {operation}: leave that out, it is added")
    return text


def split_login(url: str) -> tuple[str, str | None]:
    """Return an address without user and password, and these two as a header sends them.

    Nothing that names the address can then show them: not a repr, a log, or a cache key.
    """
    parts = _split(url)
    if parts is None or "@" not in parts.netloc:
        return url, None
    both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return plain, f"Basic {base64.b64encode(both).decode()}"


def check_environment(*, whole: bool = True) -> None:
    """Refuse what would make the SDK's client fail, or be ignored, naming the variable.

    Args:
        whole: Whether certificates are parsed, some 40 ms for a system's file, which no event
            loop should wait for; otherwise it is seen that there are some.

    Raises:
        ConfigurationError: A variable is wrong; the message has its name and the remedy.
    """
    for name in _HEADERS:
        if (value := os.environ.get(name)) is not None:
            _header(name, value)
    custom_headers()
    _certificates(whole=whole)
    for name, value in _proxies():
        _proxy(name, value)


def settings_of() -> str:
    """Return which variables about connections are set, for the message of a failure; no values."""
    return ", ".join(name for name in _READ if os.environ.get(name)) or "none is set"


def certificate_advice() -> str:
    """Return what to do when the service's certificate is not trusted."""
    unread = next((name for name in _UNREAD if os.environ.get(name)), None)
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        return f"{name} is set: the certificates there do not vouch for this service"
    if unread:
        return f"{unread} is not read here: set SSL_CERT_FILE to the same file"
    return "behind a company's proxy, set SSL_CERT_FILE to a file with its certificate"


def reach_advice() -> str:
    """Return what to look at when no connection is made."""
    proxies = [
        name
        for name in _READ
        if _is_proxy(name) and name.lower() != "no_proxy" and os.environ.get(name)
    ]
    used = f", and the proxy in {', '.join(proxies)}" if proxies else ""
    return f"check the network and base_url (or OPENAI_BASE_URL){used}"


def _header(name: str, value: str) -> None:
    """Refuse what no header may hold; the value is not shown, for it may be a key."""
    if not value.strip():
        raise ConfigurationError(f"{name} is empty: give a value, or leave it out")
    if value != value.strip():
        raise ConfigurationError(
            f"{name} begins or ends with white space, such as the line break at the end of a file: "
            "take it out"
        )
    if value[0] == value[-1] and value[0] in "\"'":
        raise ConfigurationError(f"{name} stands in quotation marks: take them out")
    for place, char in enumerate(value, 1):
        if char.isspace() or not char.isprintable():
            raise ConfigurationError(f"{name} has white space or a control character at {place}")
        if not char.isascii():
            called = unicodedata.name(char, f"U+{ord(char):04X}")
            raise ConfigurationError(
                f"{name} has a letter that only looks right at {place} ({called}): copy it again"
            )


def _certificates(*, whole: bool) -> None:
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        if Path(file).is_dir():
            raise ConfigurationError(
                f"SSL_CERT_FILE={file} is a folder: name a file, or set SSL_CERT_DIR instead"
            )
        if not Path(file).is_file():
            raise ConfigurationError(
                f"SSL_CERT_FILE={file} is not there, so no connection can be made: unset it, "
                "or set it to a file with the certificates to trust"
            )
        _load(file, whole=whole)
    elif folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise ConfigurationError(
            f"SSL_CERT_DIR={folders} is not there, so no certificate could be trusted: unset it, "
            "or set it to a folder with the certificates to trust"
        )


_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


def _load(file: str, *, whole: bool) -> None:
    try:
        if not whole and _BEGIN in Path(file).read_bytes():
            return
        import ssl

        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"SSL_CERT_FILE={file} holds no certificates that can be read ({error}): unset it, "
            "or set it to a PEM file with the certificates to trust"
        ) from error


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy")


def _proxies() -> Iterator[tuple[str, str]]:
    """Yield the proxies in force, as the HTTP library sees them, and where each is set."""
    if sys.platform not in {"darwin", "win32"} and not any(map(_is_proxy, os.environ)):
        return  # importing urllib.request takes 20 ms, which an event loop would wait for
    from urllib.request import getproxies

    found = getproxies()
    if "*" in (host.strip() for host in found.get("no", "").split(",")):
        return
    for scheme in _PROXIES:
        if value := found.get(scheme):
            names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
            named = next((name for name in names if os.environ.get(name) == value), None)
            yield named or f"the system's {scheme} proxy", value


def _proxy(name: str, value: str) -> None:
    url = value if "://" in value else f"http://{value}"
    remember_url(url)
    given = f"{name}={display_url(url)!r}"
    parts = _split(url)
    odd = any(char.isspace() or not char.isprintable() for char in value)
    if parts is None or not _is_host(parts.hostname) or odd or value[0] in "\"'":
        raise ConfigurationError(
            f"{given} is no address of a proxy: write http://host:port, or unset it"
        )
    if parts.scheme not in _PROXY_SCHEMES:
        meant = "socks5" if parts.scheme.startswith("socks") else "http"
        rest = "host:port" if parts.port is None else f"{parts.hostname}:{parts.port}"
        raise ConfigurationError(
            f"{given}: proxies are {', '.join(_PROXY_SCHEMES)}; write {meant}://{rest}, or unset it"
        )
    if parts.scheme.startswith("socks") and not _has("socksio"):
        raise ConfigurationError(
            f"{given} is a SOCKS proxy, which needs one more package: pip install socksio; "
            f"or unset {name}"
        )


def _has(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _is_host(name: str | None) -> bool:
    """Return whether it can be looked up; the encoder of host names fails only at the call."""
    if not name or "\\" in name:
        return False
    try:
        if name.isascii():
            name.encode("idna")
        else:
            import idna  # what the HTTP library encodes such names with

            idna.encode(name)
    except UnicodeError:  # of an empty or too long part, or a character no name may have
        return False
    return True


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port: Any = parts.port
    except ValueError:  # the port is no number, or the brackets of an IPv6 address are wrong
        return None
    return None if port == 0 else parts
