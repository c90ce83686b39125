"""``/images/{id}``: the very bytes, whole or in part, from the file, and nothing else's."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request

import gptimage
from gptimage.service.http import image_response
from gptimage.service.http.images import UnsatisfiableError, has_already, span
from tests.factories import noise
from tests.mcp.harness import ServerFixture, picture, server_fixture
from tests.mcp.http_helpers import TOKEN, Site, bearer, draw, run_command, serving, wait_for


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR"}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>1</script></svg>'


@pytest.fixture
def home(tmp_path: Path) -> ServerFixture:
    """A server on this machine."""
    return server_fixture(tmp_path, **QUIET)


@pytest.fixture
def site(home: ServerFixture) -> Iterator[Site]:
    """The same, listening."""
    with serving(home.server, home.app.settings) as found:
        yield found


def keep(store: gptimage.Store, data: bytes) -> gptimage.Record:
    """A picture of these bytes in a store."""
    result = gptimage.Result(
        images=(gptimage.Image.from_bytes(data),),
        request=gptimage.Generate(prompt="a fox", model="gpt-image-2.5-flare"),
        model="gpt-image-2.5-flare",
        created=datetime.now(UTC),
    )
    return store.save(result)[0]


def large() -> bytes:
    """A picture of 12 MB."""
    file = io.BytesIO()
    noise(2000, 2000).save(file, "PNG", compress_level=0)
    return file.getvalue()


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "svg"])
def test_the_very_bytes_are_sent(home: ServerFixture, site: Site, form: str) -> None:
    """A picture arrives byte for byte, under its true type, with its hash as the tag."""
    data = SVG if form == "svg" else picture(form=form)
    record = keep(home.store, data)
    answer = site.get(f"/images/{record.id}")

    assert answer.content == data
    assert answer.headers["content-type"] == record.mime_type
    assert answer.headers["content-length"] == str(record.bytes)
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f'{record.id}.{record.key.rpartition(".")[2]}"' in answer.headers["content-disposition"]


def test_an_svg_is_never_a_page(home: ServerFixture, site: Site) -> None:
    """A program in an svg cannot run in the name of this server."""
    svg = site.get(f"/images/{keep(home.store, SVG).id}")
    png = site.get(f"/images/{keep(home.store, picture()).id}")

    assert svg.headers["content-disposition"].startswith("attachment")
    assert png.headers["content-disposition"].startswith("inline")
    for answer in (svg, png):
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_copy_that_is_there_is_not_sent_again(home: ServerFixture, site: Site) -> None:
    """A browser that has the picture is told so, and gets nothing."""
    record = draw(home.store)
    path, tag = f"/images/{record.id}", f'"{record.sha256}"'
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = site.get(path, if_none_match=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert site.get(path, if_none_match='"other"').status_code == 200


def test_parts_are_sent(home: ServerFixture, site: Site) -> None:
    """A range gives these bytes, and one beyond the end is refused with the length."""
    record = draw(home.store)
    path, data, size = f"/images/{record.id}", home.store.open(record.id).data, record.bytes
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 100}", 5, size),
        (f"bytes=-{size + 100}", 0, size),
    ):
        answer = site.get(path, range=asked)
        assert answer.status_code == 206, asked
        assert answer.content == data[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)
    beyond = site.get(path, range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_a_download_goes_on_only_with_the_same_file(home: ServerFixture, site: Site) -> None:
    """A range of another version of the file is answered with the whole file."""
    record = draw(home.store)
    path, ours = f"/images/{record.id}", f'"{record.sha256}"'

    assert site.get(path, range="bytes=1-2", if_range=ours).status_code == 206
    assert site.get(path, range="bytes=1-2", if_range='"other"').status_code == 200


def test_asking_for_the_head_sends_no_body(home: ServerFixture, site: Site) -> None:
    """HEAD tells everything but the picture."""
    record = draw(home.store)
    with site.client() as client:
        answer = client.head(f"/images/{record.id}")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(record.bytes)
    assert answer.headers["etag"] == f'"{record.sha256}"'

    sent: list[bytes] = []

    async def ask() -> None:
        scope = {"type": "http", "method": "HEAD", "headers": [], "path_params": {"id": record.id}}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> Any:
            return await asyncio.Event().wait()

        request = Request(scope)
        await (await image_response(request.scope, home.store))(scope, receive, send)

    asyncio.run(ask())  # not every server drops a body that HEAD must not have
    assert b"".join(sent) == b""


@given(
    first=st.one_of(st.just(""), st.integers(0, 300).map(str)),
    last=st.one_of(st.just(""), st.integers(0, 300).map(str)),
    size=st.integers(1, 200),
)
def test_a_range_is_never_more_than_the_file(first: str, last: str, size: int) -> None:
    """Whatever is asked for, what is sent are the bytes that were meant, or all, or none."""
    whole = bytes(range(size % 256)) * 1
    try:
        found = span(Headers({"range": f"bytes={first}-{last}"}), size=size, etag='"x"')
    except UnsatisfiableError:
        assert (int(first) >= size) if first else int(last) == 0
        return
    if found is None:
        assert not (first or last) or (first and last and int(last) < int(first))
        return
    start, stop = found
    assert 0 <= start < stop <= size
    if first and last:
        assert whole[start:stop] == whole[int(first) : int(last) + 1]
    else:
        assert whole[start:stop] == (whole[int(first) :] if first else whole[-int(last) :])


@given(st.text(max_size=30))
def test_nonsense_is_no_range(text: str) -> None:
    """What is no single range of bytes is as if nothing had been asked."""
    if re.fullmatch(r"bytes=\d*-\d*", text.strip(), re.ASCII):
        return
    assert span(Headers(raw=[(b"range", text.encode())]), size=9, etag='"x"') is None
    assert not has_already(Headers(raw=[(b"if-none-match", b'"' + text.encode())]), etag='"x"')


def test_no_id_leads_out_of_the_store(home: ServerFixture, site: Site) -> None:
    """Whatever is written for an id, it names a picture of the store or nothing."""
    record = draw(home.store)
    (home.folder / "secret.png").write_bytes(b"secret")
    place = "Host: localhost\r\nConnection: close\r\n\r\n"
    strange = [
        "../secret.png",
        "..%2fsecret.png",
        "%2e%2e%2fsecret.png",
        "%2fetc%2fpasswd",
        "....//secret.png",
        "%00",
        f"{record.id}%00.png",
        f"{record.id}.json",
        f"{record.id}/",
        f"{record.id}%2f..%2f{record.id}",
        record.key.replace("/", "%2f"),
        record.id.upper(),
        record.id[:-1],
        "img_20261121T000000000000_" + "0" * 32,
        "*",
        "%25",
    ]
    for id in strange:
        with site.connect() as plain:
            plain.sendall(f"GET /images/{id} HTTP/1.1\r\n{place}".encode())
            answer = plain.makefile("rb").read()
        assert answer.split()[1] == b"404", id
        assert b"secret" not in answer.replace(b"secret.png", b"")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_in_the_store_are_not_followed(home: ServerFixture, site: Site, what: str) -> None:
    """A file, or its folder, that was replaced by a link is not sent, wherever it leads."""
    record = draw(home.store)
    assert record.path is not None
    place = record.path if what == "file" else record.path.parent
    other = home.folder / "elsewhere"
    place.rename(other)
    place.symlink_to(other)

    answer = site.get(f"/images/{record.id}")

    assert answer.status_code == 500
    assert "gptimage verify" in answer.json()["error_description"]
    assert str(home.folder) not in answer.text


def test_damaged_and_missing_files_are_told(home: ServerFixture, site: Site) -> None:
    """A file that is cut short or gone is an error, never half a picture under a good name."""
    short, gone = draw(home.store), draw(home.store, "an owl")
    assert short.path is not None
    assert gone.path is not None
    short.path.write_bytes(short.path.read_bytes()[:100])
    gone.path.unlink()

    for record in (short, gone):
        answer = site.get(f"/images/{record.id}")
        assert answer.status_code == 500
        assert answer.json()["error"] == "unreadable"


def test_an_object_store_is_no_different(tmp_path: Path) -> None:
    """A picture that lies in a bucket comes whole and in parts, under the same headers."""
    from obstore.store import MemoryStore

    from gptimage.sandbox import Sandbox
    from gptimage.store.object_blobs import ObjectBlobs
    from gptimage_mcp.config.settings import Settings
    from gptimage_mcp.server import build_server

    blobs = ObjectBlobs(MemoryStore(), name="memory")
    store = gptimage.Store(blobs, index=tmp_path / "index.sqlite")
    client = gptimage.AsyncImageClient.sandbox(Sandbox(), store=store)
    told = Settings(store=tmp_path / "none", ledger=tmp_path / "l.sqlite", **QUIET)
    record = draw(store)
    with serving(build_server(told, client=client), told) as site:
        whole = site.get(f"/images/{record.id}")
        part = site.get(f"/images/{record.id}", range="bytes=10-19")
        health = site.get("/health")

    assert whole.content == store.open(record.id).data
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert whole.headers["etag"] == f'"{record.sha256}"'
    assert health.status_code == 200


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_many_downloads_of_large_pictures_take_little_memory(tmp_path: Path) -> None:
    """Ten readers of 12 MB, and ten who never read on, cost no copy of the picture each."""
    data = large()
    with gptimage.Store(tmp_path / "store") as store:
        record = keep(store, data)
    process, url = run_command(tmp_path, GPTIMAGE_TOKENS=TOKEN)
    path = f"/images/{record.id}"
    ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    with httpx2.Client(base_url=url, headers=bearer(TOKEN), timeout=120) as client:
        wait_for(client, process)
        client.get(path)
        before = peak(process)
        stalled = [socket.create_connection(("127.0.0.1", client.base_url.port)) for _ in range(10)]
        for each in stalled:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.sendall(ask.encode())
        with ThreadPoolExecutor(10) as threads:
            got = [*threads.map(lambda _: client.get(path).content == data, range(10))]
        after = peak(process)
        for each in stalled:
            each.close()
    process.kill()
    process.communicate()

    assert got == [True] * 10
    assert after - before < 30_000_000, (before, after)


def peak(process: subprocess.Popen[bytes]) -> int:
    """The most memory a process ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024
