"""Downloads: what is refused before connecting, where the connection goes, and every bad server."""

from __future__ import annotations

import gzip
import pickle
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gptimage.errors import FetchError
from gptimage.image.download import Fetch


PUBLIC = "93.184.216.34"
BODY = b"not a picture, and that is not fetch's business"

Script = Callable[[socket.socket], None]


class Site:
    """A web server on this machine that answers each path with given bytes, right or wrong."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.routes: dict[str, bytes | Script] = {"/fox.png": reply(BODY)}
        self.requests: list[str] = []
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "/fox.png", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """The address of a path here."""
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        """Stop listening, and wake the thread that waits: it could take another's callers."""
        with suppress(OSError):  # not every system can shut a listener down
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, raw: socket.socket) -> None:
        try:
            with self._wrapped(raw) as connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    if not (more := connection.recv(65536)):
                        return
                    request += more
                self.requests.append(request.decode("latin-1"))
                answer = self.routes.get(self.requests[-1].split(" ")[1], reply(b"", status=404))
                answer(connection) if callable(answer) else connection.sendall(answer)
        except OSError:  # the client hung up, as it should on most of these
            raw.close()

    def _wrapped(self, raw: socket.socket) -> socket.socket:
        return raw if self._tls is None else self._tls.wrap_socket(raw, server_side=True)


def reply(body: bytes = b"", *, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP reply; header names are written with underscores."""
    fields = {"content_length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return f"HTTP/1.1 {status} Fine\r\n{''.join(lines)}\r\n".encode() + body


def redirect(to: str, status: int = 302) -> bytes:
    """A reply that leads elsewhere."""
    return reply(status=status, location=to)


def drip(start: bytes, drop: bytes) -> Script:
    """Send something, then a little every hundredth of a second: far longer than allowed."""

    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(300):
            threading.Event().wait(0.01)
            connection.sendall(drop)

    return script


class Names:
    """A name service that answers each host with its addresses, and keeps count."""

    def __init__(self, **hosts: list[str]) -> None:
        self.hosts = {name.replace("_", "."): addresses for name, addresses in hosts.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        """Answer as `socket.getaddrinfo` does."""
        self.asked.append(host)
        if host not in self.hosts:
            raise socket.gaierror("no such host")
        return [(0, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.hosts[host]]


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on this machine."""
    server = Site()
    yield server
    server.close()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses connected to; public ones lead to this machine, so no test leaves it."""
    addresses: list[str] = []
    connect = socket.create_connection

    def create_connection(
        address: tuple[str, int], timeout: float | None = None, **_: object
    ) -> socket.socket:
        addresses.append(address[0])
        home = "::1" if address[0] == "::1" else "127.0.0.1"
        return connect((home, address[1]), timeout)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    return addresses


local = Fetch(allow_private=True)


def refusal(fetch: Fetch, url: str) -> str:
    """The message of the `FetchError` a URL ends in."""
    with pytest.raises(FetchError) as caught:
        fetch(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_downloads(site: Site) -> None:
    """The body arrives as it is."""
    assert local(site.url()) == BODY


def test_sends_nothing_of_ours(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The request has four headers: no key, no cookie, no login from ``.netrc``, no proxy."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.routes["/fox.png"] = reply(BODY, set_cookie="a=b")
    site.routes["/start"] = reply(status=302, location="/fox.png", set_cookie="a=b")
    local(site.url("/start"))
    heads = [dict(line.split(": ") for line in each.split("\r\n")[1:-2]) for each in site.requests]

    assert [{"host", "user-agent", "accept", "accept-encoding"}] * 2 == [
        set(each) for each in heads
    ]
    assert f"127.0.0.1:{site.port}" == heads[0]["host"]
    assert heads[0]["accept-encoding"] == "identity"
    assert heads[0]["user-agent"].startswith("gptimage/")


def test_query_is_sent_but_not_shown(site: Site) -> None:
    """A signed URL works, and its signature stays out of errors."""
    site.routes["/fox.png?sig=secret"] = reply(BODY)

    assert local(site.url("/fox.png?sig=secret")) == BODY
    with pytest.raises(FetchError) as caught:
        local(site.url("/gone.png?sig=secret#part"))
    assert site.url("/gone.png") == caught.value.url
    assert "secret" not in str(caught.value)
    assert caught.value.url == pickle.loads(pickle.dumps(caught.value)).url


def test_from_many_threads(site: Site) -> None:
    """One `Fetch` serves several threads at once."""
    for number in range(8):
        site.routes[f"/{number}"] = reply(str(number).encode() * 50_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(local, [site.url(f"/{number}") for number in range(8)]))

    assert [str(number).encode() * 50_000 for number in range(8)] == found


def test_ipv6(dialled: list[str]) -> None:
    """A bracketed IPv6 address works, and is spelt with brackets in the Host header."""
    try:
        site = Site(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")

    assert local(site.url(host="[::1]")) == BODY
    assert dialled == ["::1"]
    assert f"host: [::1]:{site.port}\r\n" in site.requests[0]
    site.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fox.png",
        "//example.com/fox.png",
        "file:///etc/passwd",
        "ftp://example.com/fox.png",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://",
        "http:///fox.png",
        "http:fox.png",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:-1/",
        "http://example.com:eighty/",
        "http://[::1/",
        "http://[fe80::1%25eth0/",
        "http://exa mple.com\n/",
        "http://xn--\ud800/",
        "http://" + "a" * 70_000,
        "http://" + "a" * 300 + ".com/",
        "http://.example.com/",
        "https://example..com/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://1.2.3.4./",
    ],
)
def test_refused_unseen(url: str, dialled: list[str]) -> None:
    """What is no plain http(s) address of one host is refused, whatever is allowed."""
    names = Names()

    assert "secret" not in refusal(Fetch(allow_private=True, resolver=names), url)
    assert names.asked == []
    assert dialled == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/admin",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "https://192.168.1.1/",
    ],
)
def test_private_hosts_are_refused(url: str, dialled: list[str]) -> None:
    """With the machine's own resolver, no spelling of a private address is connected to."""
    refusal(Fetch(), url)

    assert dialled == []


def test_private_refusal_names_the_way_out() -> None:
    """The message says which argument allows it, and does not say what was found."""
    message = refusal(Fetch(resolver=Names(intranet_test=["10.1.2.3"])), "http://intranet.test/")

    assert "allow_private=True" in message
    assert "10.1.2.3" not in message


def test_one_private_address_spoils_all(dialled: list[str]) -> None:
    """A name with a public and a private address is refused whole."""
    refusal(Fetch(resolver=Names(mixed_test=[PUBLIC, "10.0.0.1"])), "http://mixed.test/")

    assert dialled == []


def test_a_name_without_address(dialled: list[str]) -> None:
    """A resolver that answers nothing is no crash."""
    refusal(Fetch(resolver=Names(empty_test=[])), "http://empty.test/")

    assert dialled == []


@pytest.mark.parametrize("allow_private", [True, False])
def test_connects_to_the_checked_address(
    allow_private: bool, site: Site, dialled: list[str]
) -> None:
    """The name is looked up once, and the connection goes to what was looked up."""
    names = Names(pictures_test=[PUBLIC])
    fetch = Fetch(allow_private=allow_private, resolver=names)

    assert fetch(site.url(host="pictures.test")) == BODY
    assert names.asked == ["pictures.test"]
    assert dialled == [PUBLIC]
    assert f"host: pictures.test:{site.port}\r\n" in site.requests[0]


def test_rebinding_name(site: Site, dialled: list[str]) -> None:
    """A name that turns private after the first answer is refused at the next hop."""
    names = Names(rebind_test=[PUBLIC])

    def rebind(connection: socket.socket) -> None:
        names.hosts["rebind.test"] = ["127.0.0.1"]
        connection.sendall(redirect("/fox.png"))

    site.routes["/start"] = rebind
    refusal(Fetch(resolver=names), site.url("/start", host="rebind.test"))

    assert names.asked == ["rebind.test"] * 2
    assert dialled == [PUBLIC]
    assert len(site.requests) == 1


def test_next_address_when_the_first_is_dead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checked address is tried in turn."""
    connect = socket.create_connection

    def create_connection(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
        if address[0] == "127.0.0.2":
            raise OSError("network is unreachable")
        return connect(address, *rest, **more)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    names = Names(pictures_test=["127.0.0.2", "127.0.0.1"])

    assert Fetch(allow_private=True, resolver=names)(site.url(host="pictures.test")) == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_follows_redirects(status: int, site: Site) -> None:
    """Absolute and relative redirects are followed, up to three."""
    site.routes["/a/start"] = redirect("next", status)
    site.routes["/a/next"] = redirect("/b/last", status)
    site.routes["/b/last"] = redirect(site.url("/fox.png#part"), status)

    assert local(site.url("/a/start")) == BODY


def test_redirect_loop_ends(site: Site) -> None:
    """After the third redirect the fourth request is not made."""
    site.routes["/loop"] = redirect("/loop")

    assert "3 redirects" in refusal(local, site.url("/loop"))
    assert len(site.requests) == 4
    assert "0 redirects" in refusal(Fetch(allow_private=True, max_redirects=0), site.url("/loop"))


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/",
        "http://[::ffff:10.0.0.1]/",
        "//127.0.0.1/",
        "http://2130706433/",
        "http://me:secret@pictures.test/",
        "http://gone.test/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "http://[broken",
        "//[",
        "http://\xff\xfe/",
    ],
)
def test_redirect_passes_the_same_checks(location: str, site: Site, dialled: list[str]) -> None:
    """A public server cannot send us anywhere a user could not."""
    site.routes["/start"] = redirect(location)

    class Mixed(Names):
        def __call__(self, host: str, port: int, **more: object) -> list[tuple[Any, ...]]:
            if host in self.hosts:
                return super().__call__(host, port, **more)
            return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    fetch = Fetch(resolver=Mixed(pictures_test=[PUBLIC]))
    refusal(fetch, site.url("/start", host="pictures.test"))

    assert dialled == [PUBLIC]


def test_redirect_without_location(site: Site) -> None:
    """A redirect to nowhere is an error."""
    site.routes["/start"] = reply(status=302)

    assert "302" in refusal(local, site.url("/start"))


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 403, 404, 418, 500, 503])
def test_other_statuses(status: int, site: Site) -> None:
    """Only 200 is an image, and what the server wrote is not repeated."""
    site.routes["/fox.png"] = reply(b"" if status in {204, 304} else b"secret", status=status)
    message = refusal(local, site.url())

    assert str(status) in message
    assert "secret" not in message


@pytest.mark.parametrize("extra", [0, 1])
def test_announced_size(extra: int, site: Site) -> None:
    """The limit itself is allowed, one byte more is not."""
    fetch = Fetch(allow_private=True, max_bytes=len(BODY) - extra)
    if extra:
        assert "larger" in refusal(fetch, site.url())
    else:
        assert fetch(site.url()) == BODY


def test_announced_size_is_refused_at_once(site: Site) -> None:
    """A body said to be too large is not waited for."""
    site.routes["/fox.png"] = reply(content_length="999999999999")

    assert "larger" in refusal(local, site.url())


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Fine\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 Fine\r\n\r\n",
    ],
)
def test_endless_body(head: bytes, site: Site) -> None:
    """A body without an announced size ends at the limit."""
    site.routes["/fox.png"] = drip(head, b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    assert "larger" in refusal(Fetch(allow_private=True, max_bytes=100_000), site.url())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-secret\r\n",
        b"\x00\xff" * 1000,
        b"HTTP/1.1 200 Fine\r\ncontent-length: secret\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 Fine\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\n" + b"a: b\r\n" * 100_000,
        b"HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 Fine\r\ncontent-length: 100\r\n\r\ncut short",
        b"HTTP/1.1 101 Switching\r\nupgrade: secret\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_servers_that_break_the_protocol(answer: bytes, site: Site) -> None:
    """Nonsense and broken-off replies are a `FetchError` that does not repeat them."""
    site.routes["/fox.png"] = answer
    with pytest.raises(FetchError) as caught:
        local(site.url())

    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_says_less_than_it_sends(site: Site) -> None:
    """Bytes beyond the announced length are never read."""
    site.routes["/fox.png"] = reply(BODY, content_length="3")

    assert BODY[:3] == local(site.url())


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, identity"])
def test_compressed_bodies_are_not_unpacked(encoding: str, site: Site) -> None:
    """A decompression bomb is refused unopened."""
    bomb = gzip.compress(bytes(10_000_000))
    site.routes["/fox.png"] = reply(bomb, content_encoding=encoding)

    assert "compressed" in refusal(local, site.url())


def test_an_image_that_was_paid_for_is_unpacked(site: Site) -> None:
    """What a reply names is worth it, within the same limit of bytes."""
    site.routes["/fox.png"] = reply(gzip.compress(BODY), content_encoding="gzip")
    site.routes["/bomb.png"] = reply(gzip.compress(bytes(1_000_000)), content_encoding="gzip")
    service = Fetch(max_bytes=100_000)

    assert service.from_service(site.url(), site.url("/v1")) == BODY
    with pytest.raises(FetchError, match="larger than 100,000 bytes"):
        service.from_service(site.url("/bomb.png"), site.url("/v1"))


def test_identity_encoding_is_fine(site: Site) -> None:
    """A server may repeat that it did not compress."""
    site.routes["/fox.png"] = reply(BODY, Content_Encoding="Identity")

    assert local(site.url()) == BODY


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 Fine\r\ncontent-length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 Fine\r\nx-", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "headers", "continue"],
)
def test_slow_drip_ends(start: bytes, drop: bytes, site: Site) -> None:
    """A server that always sends a little more is left when the total time is up."""
    site.routes["/fox.png"] = drip(start, drop)

    assert "0.3 s in all" in refusal(Fetch(allow_private=True, total_timeout=0.3), site.url())


def test_silence_ends(site: Site) -> None:
    """A server that says nothing is left after one step."""
    done = threading.Event()

    def silence(_: socket.socket) -> None:
        done.wait(60)

    site.routes["/fox.png"] = silence

    assert "0.1 s for a step" in refusal(Fetch(allow_private=True, timeout=0.1), site.url())
    done.set()


def test_total_counts_over_redirects(site: Site) -> None:
    """Redirects do not start the clock again."""

    def later(connection: socket.socket) -> None:
        threading.Event().wait(0.1)
        connection.sendall(redirect("/loop"))

    site.routes["/loop"] = later
    fetch = Fetch(allow_private=True, total_timeout=0.3, max_redirects=1000)

    assert "0.3 s in all" in refusal(fetch, site.url("/loop"))


def test_nobody_listens() -> None:
    """A refused connection is a `FetchError`."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"

        assert "could not be reached" in refusal(local, url)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority this process trusts for the length of a test."""
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return ca


def tls_site(ca: trustme.CA, *names: str) -> Site:
    """A server with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return Site(context)


def test_tls_verifies_the_name(authority: trustme.CA) -> None:
    """The certificate is checked against the name in the URL, not the address dialled."""
    names = Names(pictures_test=["127.0.0.1"])
    fetch = Fetch(allow_private=True, resolver=names)
    right, wrong, bare = (
        tls_site(authority, name) for name in ("pictures.test", "other.test", "127.0.0.1")
    )

    assert fetch(right.url(host="pictures.test", scheme="https")) == BODY
    for site in (wrong, bare):
        assert "certificate" in refusal(fetch, site.url(host="pictures.test", scheme="https"))
    assert local(bare.url(scheme="https")) == BODY
    for site in (right, wrong, bare):
        site.close()


@pytest.mark.usefixtures("authority")
def test_tls_needs_a_trusted_authority() -> None:
    """A certificate nobody vouches for is refused."""
    site = tls_site(trustme.CA(), "127.0.0.1")

    assert "certificate" in refusal(local, site.url(scheme="https"))
    assert site.requests == []
    site.close()


def test_no_step_down_to_http(authority: trustme.CA, site: Site) -> None:
    """A redirect from https to http is not followed; from http to https it is."""
    secure = tls_site(authority, "127.0.0.1")
    secure.routes["/down"] = redirect(site.url())
    site.routes["/up"] = redirect(secure.url(scheme="https"))

    assert "https to http" in refusal(local, secure.url("/down", scheme="https"))
    assert site.requests == []
    assert local(site.url("/up")) == BODY
    secure.close()


def test_broken_trust_settings(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ``SSL_CERT_FILE`` that does not exist is a `FetchError` too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))

    assert "No such file" in refusal(local, site.url(scheme="https"))


def test_tls_handshake_that_hangs(site: Site) -> None:
    """Talking TLS to a server that waits for something else ends with the step."""
    fetch = Fetch(allow_private=True, timeout=0.1)
    site.routes["/"] = b""

    refusal(fetch, site.url(scheme="https"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://a/".__add__)))
@example("http://xn--ls8h.la/\ud83d")
def test_no_text_crashes(dialled: list[str], url: str) -> None:
    """Any text at all ends in a `FetchError` when no name can be found."""
    with pytest.raises(FetchError) as caught:
        Fetch(allow_private=True, resolver=Names())(url)

    assert str(caught.value).isprintable()
    assert dialled == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.ip_addresses(network="127.0.0.0/8").map(int),
    st.sampled_from(["{0}", "0x{0:x}", "0{0:o}", "{1}.{2}", "0x{1:x}.{2}", "0{1:o}.{2}"]),
)
def test_no_spelling_of_this_machine_is_dialled(dialled: list[str], number: int, form: str) -> None:
    """Decimal, octal and hexadecimal spellings of loopback are refused with the real resolver."""
    refusal(Fetch(), f"http://{form.format(number, number >> 24, number & 0xFFFFFF)}:9/")

    assert dialled == []
