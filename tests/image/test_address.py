"""Which addresses are public, which host spellings are odd, and what of a URL is shown."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.image.download import is_odd_number, is_public
from gptimage.secrets import display_url


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001:0:808:808::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "2002:a9fe:a9fe::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]

PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    """Nothing that stays on a machine, a network or a cloud host is public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Ordinary addresses are, also when IPv6 wraps them."""
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_wrapping_changes_nothing(inner: ipaddress.IPv4Address) -> None:
    """An IPv4 address is judged alike when mapped or translated (NAT64)."""
    number = int(inner)
    wrapped = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
    ]

    assert [is_public(str(inner))] * 2 == [is_public(str(each)) for each in wrapped]


@given(st.ip_addresses())
def test_public_is_never_more_than_the_standard_library_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """We only ever refuse more than `ipaddress`, except where IPv6 wraps IPv4."""
    wraps = address.version == 6 and address in ipaddress.ip_network("64:ff9b::/96")

    assert not is_public(str(address)) or address.is_global or wraps or _mapped(address)


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


@given(st.text())
def test_what_is_no_address_is_not_public(text: str) -> None:
    """Words are never taken for an address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert not is_public(text)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0X7F.1", "127.1", "0177.0.0.1", "1.2.3.4.", "0x", "08"]
)
def test_odd_numbers(host: str) -> None:
    """Decimal, octal, hexadecimal and shortened spellings are recognised."""
    assert is_odd_number(host)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "example.com", "1and1.com", "3.com", "0xdead.beef", "::1"]
)
def test_plain_hosts(host: str) -> None:
    """Ordinary names, also with digits in them, are left alone."""
    assert not is_odd_number(host)


@given(
    st.lists(
        st.integers(0, 0xFFFFFFFF).flatmap(lambda n: st.sampled_from([str(n), hex(n), f"0{n:o}"])),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_the_c_library_reads_as_a_number_is_odd_or_plain(parts: list[str]) -> None:
    """`inet_aton` understands no spelling that would slip through as a name."""
    host = ".".join(parts)
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return

    assert is_odd_number(host) or host == socket.inet_ntoa(packed)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/a/b.png", "https://example.com/a/b.png"),
        ("https://example.com:8443/a.png?sig=secret", "https://example.com:8443/a.png"),
        ("https://example.com/a.png#secret", "https://example.com/a.png"),
        ("https://me:secret@example.com/a.png", "https://example.com/a.png"),
        ("https://me:s@cret@example.com/a.png", "https://example.com/a.png"),
        ("https://me:se/cret@example.com/a.png", "https://…"),
        ("https://me:se?cret@example.com/a.png", "https://…"),
        ("https://medium.com/@somebody/a.png", "https://medium.com/@somebody/a.png"),
        ("https://[::1]:8080/a.png", "https://[::1]:8080/a.png"),
        ("ftp:a.png", "ftp:a.png"),
        ("http://a\r\nb/", "http://a��b/"),
    ],
)
def test_display_url(url: str, expected: str) -> None:
    """Neither passwords nor signed queries reach an error message."""
    assert expected == display_url(url)


@given(st.text())
def test_shown_is_one_short_line(text: str) -> None:
    """Whatever a URL holds, what is shown fits in a message."""
    line = display_url(text)

    assert line.isprintable()
    assert len(line) <= 200
