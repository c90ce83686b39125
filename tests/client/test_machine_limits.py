"""Real limits of a machine: few file descriptors, and a company's own certificate."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import trustme

import gptimage
from gptimage import Retry, TransportError
from gptimage.sandbox import Sandbox, SandboxServer
from tests.factories import picture


PROGRAM = """
import asyncio, io, json, resource, sys, threading
from datetime import timedelta
import gptimage
from gptimage.budget import Ledger
from gptimage.store import PendingReplies
from gptimage.transport.base64_body import decoded_images

address, folder, way, most = sys.argv[1:]
settings = {"api_key": "sk-x", "base_url": address}
if folder != "-":
    settings |= {"store": f"{folder}/store"}
if folder.endswith("all"):
    budget = gptimage.Budget("9", per="total", ledger=Ledger(f"{folder}/ledger"))
    settings |= {"cache": f"{folder}/cache", "budget": budget}
kind = gptimage.AsyncImageClient if way.startswith("async") else gptimage.ImageClient
client = kind(**settings)
prompts = [f"A fox, number {n}" for n in range(27)]
options = {"size": "1024x1024", "quality": "low"}
photo = gptimage.Image.from_bytes(sys.stdin.buffer.read())
before = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(most), before))
got, failed, lock = 0, [], threading.Lock()

def take(found):
    global got
    error = found if isinstance(found, Exception) else getattr(found, "error", None)
    result = getattr(error, "result", None) if error else getattr(found, "result", found)
    with lock:
        got += sum(1 for _ in result.images) if result else 0
        failed.extend([type(error).__name__] if error else [])

def one(prompt):
    try:
        if way == "edits":
            take(client.edit(prompt, images=[photo], **options))
        elif way == "streams":
            *_, completed = client.stream(prompt, **options)
            take(completed)
        else:
            take(client.generate(prompt, **options))
    except Exception as error:
        take(error)

async def awaited():
    if way == "async-many":
        async for item in client.generate_many(prompts, concurrency=27, **options):
            take(item)
    else:
        calls = [client.generate(prompt, **options) for prompt in prompts]
        for found in await asyncio.gather(*calls, return_exceptions=True):
            take(found)

if way.startswith("async"):
    asyncio.run(awaited())
elif way == "many":
    for item in client.generate_many(prompts, concurrency=27, **options):
        take(item)
else:
    threads = [threading.Thread(target=one, args=(prompt,)) for prompt in prompts]
    [each.start() for each in threads]
    [each.join() for each in threads]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, before))
left = PendingReplies().abandoned(older_than=timedelta(0))
spooled = sum(len(decoded_images(each.read())) for each in left)
print(json.dumps({"got": got, "spooled": spooled, "failed": failed}))
"""

WAYS = ("many", "threads", "edits", "streams", "async-many", "async-calls")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("way", "saving", "most"),
    [
        ("many", "-", 40),
        ("threads", "store", 40),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in product(WAYS, ("-", "store", "all"), (24, 32, 40))
            if each not in {("many", "-", 40), ("threads", "store", 40)}
        ),
    ],
)
def test_few_descriptors_lose_no_image(tmp_path: Path, way: str, saving: str, most: int) -> None:
    """27 requests at once in a process that may open few files: whatever was paid is there."""
    sandbox = Sandbox(draw="plain")
    with SandboxServer(sandbox=sandbox) as server:
        folder = saving if saving == "-" else str(tmp_path / saving)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, server.base_url, folder, way, str(most)],
            env={"XDG_STATE_HOME": str(tmp_path / "state"), "PATH": "", "HOME": str(tmp_path)},
            input=picture(64, 64),
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    paid = sum(1 for each in sandbox.requests if each.path.startswith("/images/"))

    print(f"{way}, {saving}, {most} files: {paid} paid, {found}")  # noqa: T201  # the figures
    assert paid > 0 or saving == "all"  # a ledger that cannot be opened lets nothing be sent
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
