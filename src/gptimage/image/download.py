"""Guarded download of images by URL: public addresses only, bounded in bytes and seconds."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from gptimage._internal.keywords import as_int, flag, function, seconds, strict_class, whole
from gptimage._internal.version import library_version
from gptimage.errors import FetchError
from gptimage.secrets import display_url


if TYPE_CHECKING:
    import httpcore2
    import httpx2


# Which addresses may be downloaded from: pure rules, no network.

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNICAST6: Final = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is handed out to the public
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER: Final = (
    ipaddress.IPv6Network("2002::/16"),  # 6to4: abandoned, and leads to any IPv4 address
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; older Pythons list only a part
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host agent, public only by its number
)
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also when IPv6 wraps an IPv4 one."""
    try:
        ip = _unwrapped(ipaddress.ip_address(address))
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _UNICAST6:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NEVER)


def _unwrapped(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv4-mapped or NAT64 address leads to.

    6to4, Teredo and the old IPv4-compatible form are not unwrapped: they are refused whole.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return ip.ipv4_mapped or nat64 or ip


def is_odd_number(host: str) -> bool:
    """Whether a host is an IPv4 address in a form only old C libraries read, such as 0x7f.1."""
    if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


_GZIP: Final = (b"gzip", b"x-gzip")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ACCEPT: Final = "image/png, image/jpeg, image/webp, */*;q=0.1"


@strict_class
@frozen(kw_only=True)
class Fetch:
    """Downloads an image the user, or someone the user serves, names by URL.

    Only ``http`` and ``https``, and only when every address of the host is public; the
    connection then goes to an address that was checked. Each redirect passes the same checks,
    and may not lead from ``https`` to ``http``. Nothing of yours is sent along: no key, cookies
    or ``.netrc``, and proxy settings are not used. Safe to call from several threads. Looking
    up the name is left to the operating system and its own time limit.

    Attributes:
        allow_private: Also download from your own machine and network. Switch it on only
            for URLs you write yourself; all other checks stay.
        max_bytes: Refuse anything larger.
        max_redirects: How many redirects are followed.
        timeout: Seconds for each step: connecting, or waiting for more bytes.
        total_timeout: Seconds for the whole download with its redirects.
        resolver: Looks up addresses, called as `socket.getaddrinfo` is.

    Raises:
        ConfigurationError: A setting makes no sense.
    """

    allow_private: bool = False
    max_bytes: int = field(default=50_000_000, converter=as_int)
    max_redirects: int = field(default=3, converter=as_int)
    timeout: float = 30.0
    total_timeout: float = 120.0
    resolver: Callable[..., list[tuple[Any, ...]]] = field(default=socket.getaddrinfo, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense."""
        flag("allow_private", self.allow_private)
        whole("max_bytes", self.max_bytes, 1)
        whole("max_redirects", self.max_redirects, 0)
        seconds("timeout", self.timeout)
        seconds("total_timeout", self.total_timeout)
        function("resolver", self.resolver, "a function like socket.getaddrinfo")

    def __call__(self, url: str) -> bytes:
        """Download one address.

        Args:
            url: An ``http`` or ``https`` address without user name and password.

        Returns:
            The body as it arrived. It need not be an image: that is for the caller to check.

        Raises:
            FetchError: The address was refused, or the download failed.
        """
        return self._download(url, None)

    def from_service(self, url: str, endpoint: str) -> bytes:
        """Download an address a service's reply names.

        The reply may also name the service itself, wherever that is: then exactly its host and
        port are read, and no other private address, not even after a redirect.

        Args:
            url: The address in the reply.
            endpoint: The base URL the request was sent to.

        Raises:
            FetchError: The address was refused, or the download failed.
        """
        return self._download(url, endpoint)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body to an address under the same checks; no redirect is followed.

        Args:
            url: An ``http`` or ``https`` address without user name and password.
            body: What is sent.
            headers: Headers beside those of every request.

        Returns:
            The HTTP status of the answer, whose body is not read.

        Raises:
            FetchError: The address was refused, or could not be reached.
        """
        target, deadline = _parse(url), time.monotonic() + self.total_timeout
        more = [(name.encode(), value.encode()) for name, value in headers.items()]
        more.append((b"content-length", str(len(body)).encode()))
        with self._exchange("POST", target, deadline, headers=more, body=body) as got:
            return got.status

    def _download(self, url: str, endpoint: str | None) -> bytes:
        deadline = time.monotonic() + self.total_timeout
        target = _parse(url)
        for _ in range(self.max_redirects + 1):
            found = self._get(target, deadline, endpoint)
            if isinstance(found, bytes):
                return found
            target = _follow(target, found)
        raise _refused(target, f"comes after more than {self.max_redirects} redirects")

    def _get(self, target: httpx2.URL, deadline: float, endpoint: str | None) -> bytes | str:
        """Return the body, or where a redirect leads."""
        with self._exchange("GET", target, deadline, endpoint) as got:
            headers = {name.lower(): value for name, value in got.headers}
            if got.status in _REDIRECTS and b"location" in headers:
                return headers[b"location"].decode("utf-8", "replace")
            packed = headers.get(b"content-encoding", b"identity").strip().lower()
            # What was paid for is worth unpacking, within the same limit; see `_check_head`.
            wanted = endpoint is not None and packed in _GZIP
            self._check_head(target, got.status, headers, packed=wanted)
            body = self._body(target, got)
            return self._unpacked(target, body) if wanted else body

    @contextmanager
    def _exchange(
        self,
        method: str,
        target: httpx2.URL,
        deadline: float,
        endpoint: str | None = None,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
    ) -> Generator[httpcore2.Response]:
        """Send one request to an address that was checked; what the network does is an error."""
        import httpcore2

        from gptimage.image.pinned_address import PinnedAddressBackend, ssl_context

        dialer = PinnedAddressBackend(self._addresses(target, endpoint), deadline)
        steps = dict.fromkeys(("connect", "read", "write", "pool"), self.timeout)
        scheme, host, path = target.raw_scheme, target.raw_host, target.raw_path
        url = httpcore2.URL(scheme=scheme, host=host, port=_port(target), target=path)
        sent = [*_headers(target), *headers]
        more: Any = {"timeout": steps}
        with (
            self._failures(target),
            httpcore2.ConnectionPool(ssl_context(url), network_backend=dialer) as pool,
            pool.stream(method, url, headers=sent, content=body, extensions=more) as got,
        ):
            yield got

    def _addresses(self, target: httpx2.URL, endpoint: str | None) -> list[str]:
        """Return every address of the host, once all of them are found acceptable."""
        addresses = self._look_up(target)
        if self.allow_private or all(map(is_public, addresses)):
            return addresses
        if endpoint is None:
            advice = "Fetch(allow_private=True) allows your own network"
            raise _refused(target, f"is not on the public internet; {advice}")
        if not self._is_service(target, addresses, endpoint):
            raise _refused(
                target,
                "is not on the public internet, and not the host and port of base_url either; if "
                "you trust what the service names, use fetch=Fetch(allow_private=True)",
            )
        return addresses

    def _look_up(self, target: httpx2.URL) -> list[str]:
        try:
            rows = self.resolver(_host(target), _port(target), type=socket.SOCK_STREAM)
        except OSError as error:
            raise _refused(target, "has a host name that cannot be found") from error
        return list(dict.fromkeys(str(row[4][0]) for row in rows))

    def _is_service(self, target: httpx2.URL, addresses: list[str], endpoint: str) -> bool:
        """Whether it is the host and port asked, also under another name of the same address."""
        import httpx2

        try:
            asked = httpx2.URL(endpoint)
            if _port(asked) != _port(target):
                return False
            return _host(asked) == _host(target) or set(addresses) <= set(self._look_up(asked))
        except (httpx2.InvalidURL, FetchError, ValueError):
            return False

    def _body(self, target: httpx2.URL, response: httpcore2.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            self._check_size(target, len(body))
        return bytes(body)

    def _unpacked(self, target: httpx2.URL, body: bytes) -> bytes:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            plain = unpacker.decompress(body, self.max_bytes + 1)
        except zlib.error as error:
            raise _refused(target, "sent a body that is packed and broken") from error
        self._check_size(target, len(plain))
        return plain

    def _check_head(
        self,
        target: httpx2.URL,
        status: int,
        headers: dict[bytes, bytes],
        *,
        packed: bool,
    ) -> None:
        if status != 200:
            raise _refused(target, f"answered with HTTP status {status} instead of an image")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding != b"identity" and not packed:
            # Unpacking what we asked not to be packed would invite decompression bombs.
            raise _refused(target, "sent a compressed body although none was requested")
        self._check_size(target, int(headers.get(b"content-length", b"0")))

    def _check_size(self, target: httpx2.URL, size: int) -> None:
        if size > self.max_bytes:
            raise _refused(target, f"is larger than {self.max_bytes:,} bytes")

    @contextmanager
    def _failures(self, target: httpx2.URL) -> Generator[None]:
        """Turn whatever the network does into a `FetchError`."""
        import httpcore2

        try:
            yield
        except httpcore2.TimeoutException as error:
            limits = f"{self.timeout:g} s for a step or {self.total_timeout:g} s in all"
            raise _refused(target, f"took more than {limits}") from error
        except httpcore2.ProtocolError:
            # Not chained: it quotes what the server sent, which may be a secret of its own.
            raise _refused(target, "broke off, or did not answer in HTTP") from None
        except (httpcore2.NetworkError, OSError, ValueError) as error:
            raise _refused(target, f"could not be reached: {error}") from error


def _parse(url: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """Read a URL, or what a redirect says, and check all that needs no network."""
    import httpx2

    try:
        target = httpx2.URL(url) if base is None else base.join(url)
        _host(target).encode("idna")  # what resolvers and TLS do; it refuses empty labels
    except (httpx2.InvalidURL, ValueError) as error:
        raise FetchError(f"{display_url(url)} is not a valid URL", url=display_url(url)) from error
    if target.scheme not in ("http", "https"):
        raise _refused(target, "cannot be downloaded: only http and https URLs can")
    if target.userinfo:
        raise _refused(target, "holds a user name or password; leave them out")
    if not _host(target) or not 0 < _port(target) < 65536:
        raise _refused(target, "has no host, or an impossible port")
    if is_odd_number(_host(target)):
        raise _refused(target, "spells its address oddly; write it like 93.184.216.34")
    return target


def _follow(source: httpx2.URL, location: str) -> httpx2.URL:
    target = _parse(location, source)
    if source.scheme == "https" and target.scheme == "http":
        raise _refused(source, "redirects from https to http, which is not followed")
    return target


def _host(target: httpx2.URL) -> str:
    return target.raw_host.decode("ascii")


def _port(target: httpx2.URL) -> int:
    default = 443 if target.scheme == "https" else 80
    return default if target.port is None else target.port


def _headers(target: httpx2.URL) -> list[tuple[bytes, bytes]]:
    """All that is sent; the host is spelt here because httpcore2 leaves out IPv6 brackets."""
    return [
        (b"host", target.netloc),
        (b"user-agent", f"gptimage/{library_version()}".encode()),
        (b"accept", _ACCEPT.encode()),
        (b"accept-encoding", b"identity"),
    ]


def _refused(target: httpx2.URL, reason: str) -> FetchError:
    url = display_url(str(target))
    return FetchError(f"{url} {reason}", url=url)
