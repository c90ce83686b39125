"""Real limits of a machine: few file descriptors, and a company's own certificate."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import gptimage
from gptimage import Retry, TransportError
from gptimage.sandbox import Sandbox, SandboxServer


MANY = """
import json, resource, sys
import gptimage
from gptimage.store import PendingReplies
from gptimage.transport.base64_body import decoded_images

address, store, way = sys.argv[1:]
settings = {"store": store} if store != "-" else {}
client = gptimage.ImageClient(api_key="sk-x", base_url=address, **settings)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
got, failed = 0, []
def take(result):
    return sum(1 for _ in result.images)
if way == "many":
    for item in client.generate_many(
        [f"A fox, number {n}" for n in range(27)], concurrency=27, size="1024x1024", quality="low"
    ):
        carried = getattr(item.error, "result", None) if item.error else item.result
        got += take(carried) if carried else 0
        failed += [type(item.error).__name__] if item.error else []
else:
    import threading
    lock = threading.Lock()
    def one(n):
        global got
        try:
            result = client.generate(f"A fox, number {n}", size="1024x1024", quality="low")
        except Exception as error:
            result = getattr(error, "result", None)
            failed.append(type(error).__name__)
        with lock:
            got += take(result) if result else 0
    threads = [threading.Thread(target=one, args=(n,)) for n in range(27)]
    [each.start() for each in threads]
    [each.join() for each in threads]
from datetime import timedelta
left = PendingReplies().abandoned(older_than=timedelta(0))
spooled = sum(len(decoded_images(each.read())) for each in left)
print(json.dumps({"got": got, "spooled": spooled, "failed": failed}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("way", "store"),
    [
        ("many", False),
        ("threads", True),
        pytest.param("many", True, marks=pytest.mark.slow),
        pytest.param("threads", False, marks=pytest.mark.slow),
    ],
)
def test_forty_descriptors_lose_no_image(tmp_path: Path, way: str, store: bool) -> None:
    """27 requests at once in a process that may open 40 files: whatever was paid is there."""
    sandbox = Sandbox(draw="plain")
    with SandboxServer(sandbox=sandbox) as server:
        where = str(tmp_path / "store") if store else "-"
        done = subprocess.run(
            [sys.executable, "-c", MANY, server.base_url, where, way],
            env={"XDG_STATE_HOME": str(tmp_path / "state"), "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    paid = sum(1 for each in sandbox.requests if each.path.endswith("/generations"))

    print(f"{way}, store={store}: {paid} paid, {found}")  # noqa: T201  # the figures
    assert paid > 0
    assert found["got"] + found["spooled"] >= paid


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A company's own authority."""
    return trustme.CA()


@pytest.fixture
def company(authority: trustme.CA) -> Iterator[tuple[str, Sandbox]]:
    """A service behind a certificate of that company: its address, and what it saw."""
    sandbox = Sandbox(draw="plain")
    server = SandboxServer(sandbox=sandbox)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    listener: Any = server._listener  # the sandbox itself speaks no TLS
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    with server:
        yield server.base_url.replace("http://", "https://"), sandbox


def draw(client: Any) -> gptimage.Result:
    """One image."""
    found: gptimage.Result = client.generate("A fox", size="1024x1024", quality="low")
    return found


def test_a_company_certificate_is_trusted_by_a_variable(
    company: tuple[str, Sandbox],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SSL_CERT_FILE names the authority: the call works like any other."""
    address, sandbox = company
    file = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with gptimage.ImageClient(api_key="sk-x", base_url=address) as client:
        assert len(draw(client).images) == 1
    assert len(sandbox.requests) == 1


def test_an_unknown_certificate_names_the_variable(
    company: tuple[str, Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it one sentence says what to set; nothing was sent, and it is not tried again."""
    address, sandbox = company
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with (
        gptimage.ImageClient(api_key="sk-x", base_url=address, retry=Retry(attempts=4)) as client,
        pytest.raises(TransportError, match=r"nothing was sent.*SSL_CERT_FILE") as caught,
    ):
        draw(client)

    assert not caught.value.retryable
    assert len(sandbox.requests) == 0
