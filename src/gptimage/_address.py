"""Which addresses may be downloaded from, and how a URL is shown; pure rules, no network."""

from __future__ import annotations

import ipaddress
import re
from typing import Final


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNICAST6: Final = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is handed out to the public
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER: Final = (
    ipaddress.IPv6Network("2002::/16"),  # 6to4: abandoned, and leads to any IPv4 address
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; older Pythons list only a part
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host agent, public only by its number
)
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")


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
    """The IPv4 address that an IPv4-mapped or NAT64 address leads to.

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


def shown(url: str) -> str:
    """The URL without user name, password, query and fragment, printable and short."""
    scheme, slashes, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("//")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if not _HOST.fullmatch(host):  # the "port" may be half of a password that holds a / or ?
        host, slash, path = "…", "", ""
    text = f"{scheme}{slashes}{host}{slash}{path}"
    return "".join(c if c.isprintable() else "�" for c in text[:200])
