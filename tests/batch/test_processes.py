"""Several processes, one after a kill or all at once, make one job of the same state file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as PilImage

from gptimage import ConfigurationError, ImageClient, InvalidRequestError
from gptimage.batch import Batch
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import Store
from gptimage.transport.http import HttpRequest
from tests.batch.helpers import Meddling, fox, line, made, uploaded
from tests.processes import start_python


CHILD = """
import os, signal, sys
from gptimage import ConfigurationError, ImageClient
from gptimage.store import Store
from gptimage.transport.openai_sdk import OpenAITransport

folder, mark, when = sys.argv[1:]
count = 0

def killed_at(name):
    global count
    count += name == mark
    if mark and count == int(when):
        os.kill(os.getpid(), signal.SIGKILL)

class Mortal(OpenAITransport):
    def send(self, request):
        reply = super().send(request)
        killed_at(f"after {request.path}")
        return reply

def openai():
    from openai import OpenAI
    return OpenAI(api_key="sk-x")

asked = []
for number in range(3):
    asked.append({"prompt": f"Fox {number}", "size": "1024x640", "quality": "low"})
    if number:
        asked[-1]["images"] = [f"{folder}/{number}.png"]

with ImageClient(transport=Mortal(openai, owned=True), store=Store(f"{folder}/store")) as client:
    try:
        batch = client.submit_batch(asked, state=f"{folder}/batch.json")
    except ConfigurationError as error:
        raise SystemExit(str(error))
    batch.wait(poll=0)
    for item in batch.results():
        killed_at("item")
        print(item.index, [record.id for record in item.result.stored])
"""


READER = """
import sys, time
from pathlib import Path
from gptimage import ImageClient
from gptimage.store import Store

folder = Path(sys.argv[1])
with ImageClient(store=Store(folder / "store")) as client:
    batch = client.open_batch(folder / "batch.json")
    batch.wait(poll=0)
    print("ready", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.001)
    for item in batch.results():
        print(item.index, *[record.id for record in item.result.stored])
"""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    """The service, over HTTP."""
    with SandboxServer(sandbox=Sandbox()) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the children find their images."""
    for number in (1, 2):
        file = io.BytesIO()
        PilImage.new("RGB", (64 + number, 64), "teal").save(file, "png")
        (tmp_path / f"{number}.png").write_bytes(file.getvalue())
    return tmp_path


def start(
    server: SandboxServer, folder: Path, mark: str = "", when: int = 0
) -> subprocess.Popen[str]:
    """A process that does everything, or dies the nth time it comes somewhere."""
    return start_python(
        ["-c", CHILD, str(folder), mark, str(when)],
        env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-x"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("mark", "when", "pictures"),
    [
        ("after /files", 2, 3),  # one image is uploaded, and one whose answer is lost
        ("after /batches", 1, 2),  # one of two batches is made, its answer is lost
        ("item", 2, 2),
    ],
)
def test_a_killed_process_is_gone_on_from(
    server: SandboxServer, folder: Path, mark: str, when: int, pictures: int
) -> None:
    """Killed anywhere, the same script run again makes no batch, upload or image twice."""
    with start(server, folder, mark, when) as first:
        out, _ = first.communicate(timeout=240)
    with start(server, folder) as again:
        rest, error = again.communicate(timeout=240)

    assert (first.returncode, again.returncode) == (-9, 0), error
    assert {text.split()[0] for text in rest.splitlines()} == set("012")
    assert set(out.splitlines()) <= set(rest.splitlines())  # the same images, not saved anew
    assert len(made(server.sandbox)) == 2
    assert len(uploaded(server.sandbox, "vision")) == pictures
    assert len(uploaded(server.sandbox, "batch")) == 2
    with Store(folder / "store") as store:
        assert store.stats().images == 3
    left = {path.name for path in folder.glob("batch.json*")}
    assert left == {"batch.json", "batch.json.lock", "batch.json.requests.jsonl"}


def test_many_processes_at_once_make_one_job(server: SandboxServer, folder: Path) -> None:
    """Of processes that begin the same new job together, one submits; the others say why not."""
    running = [start(server, folder) for _ in range(3)]
    said: list[str] = []
    for each in running:
        with each:
            _, error = each.communicate(timeout=240)
        said += [error] if each.returncode else []

    assert len(made(server.sandbox)) == 2
    assert len(said) < len(running)
    assert all("another process is submitting" in error for error in said)


def test_two_processes_read_one_batch(server: SandboxServer, folder: Path) -> None:
    """Both get every item, and each image is in their store once."""
    sandbox = server.sandbox
    client = ImageClient(api_key="sk-x", base_url=server.base_url)
    with client:
        client.submit_batch([fox(number) for number in range(6)], state=folder / "batch.json")
    readers = [
        start_python(
            ["-c", READER, str(folder)],
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-x"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for each in readers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    (folder / "go").touch()
    found = [sorted(each.communicate(timeout=240)[0].splitlines()) for each in readers]

    assert found[0] == found[1]
    assert [line.split()[0] for line in found[0]] == list("012345")
    with Store(folder / "store") as store:
        assert len(store.history(100)) == 6
    assert len(made(sandbox)) == 1


def test_a_job_that_is_being_prepared_is_left_alone(tmp_path: Path) -> None:
    """While one process uploads, another one that begins the same job is refused, then joins."""
    sandbox, file = Sandbox(), tmp_path / "batch.json"
    uploading, free = threading.Event(), threading.Event()

    def hold(request: HttpRequest) -> None:
        if request.path == "/files":
            uploading.set()
            free.wait(60)

    slow = line(sandbox, transport=Meddling(sandbox, hold))
    thread = threading.Thread(target=Batch.submit, args=(slow, [fox(0)]), kwargs={"state": file})
    thread.start()
    assert uploading.wait(60)
    with pytest.raises(ConfigurationError, match="another process is submitting"):
        Batch.submit(line(sandbox), [fox(0)], state=file)
    with pytest.raises(ConfigurationError, match="another process is submitting"):
        Batch.open(line(sandbox), file).status()
    free.set()
    thread.join(20)

    assert len(Batch.submit(line(sandbox), [fox(0)], state=file).ids) == 1
    assert len(made(sandbox)) == len(uploaded(sandbox, "batch")) == 1


def test_a_job_that_went_wrong_leaves_no_requests(tmp_path: Path) -> None:
    """When a request is wrong, no file with prompts is left, and the next try starts anew."""
    sandbox, file = Sandbox(), tmp_path / "batch.json"
    with pytest.raises(InvalidRequestError, match="request 1"):
        Batch.submit(line(sandbox), [fox(0), {"prompt": ""}], state=file)

    assert [path.name for path in tmp_path.iterdir()] == ["batch.json.lock"]
    assert Batch.submit(line(sandbox), [fox(0)], state=file).ids
