"""The pictures a call names are found wherever they may be, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mcp import Client

import gptimage
from gptimage_mcp.tools.inputs import LARGEST_DATA
from tests.mcp.harness import PROTOCOLS, ServerFixture, picture, result_json, server_fixture, text


FOX, OWL = picture(64, 64), picture(64, 64, color="red")
CHEAP = {"size": "1024x1024", "quality": "low"}
LINKED = "https://pictures.example.com/owl.png"
PLAIN = "http://pictures.example.com/owl.png"


def sent(where: ServerFixture) -> list[bytes]:
    """The input pictures of the last request."""
    return [
        part.data for part in where.sandbox.requests[-1].files if part.name in ("image", "image[]")
    ]


class Web(gptimage.Fetch):
    """A web that has one picture; what is asked of it is kept."""

    def __call__(self, url: str) -> bytes:
        """The picture, or what the real guard says."""
        ASKED.append(url)
        return OWL if url in (LINKED, PLAIN) else super().__call__(url)


ASKED: list[str] = []


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    """Each test begins with a web nobody has asked."""
    ASKED.clear()


def zoo(folder: Path, **settings: Any) -> ServerFixture:
    """A server with a picture to read."""
    where = server_fixture(folder, fetch=Web(), **settings)
    where.put("fox.png", FOX)
    return where


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_is_named_in_every_way(tmp_path: Path, protocol: str) -> None:
    """By id, handle, address, path, file address, data URL, web address or uploaded file."""
    where = zoo(tmp_path)
    first = result_json(where.call("generate_image", protocol, prompt="A fox", **CHEAP))
    drawn = where.store.open(first["images"][0]["id"]).data
    path = tmp_path / "in" / "fox.png"
    ways = {
        first["images"][0]["id"]: drawn,
        first["images"][0]["uri"]: drawn,
        first["images"][0]["path"]: drawn,
        first["handle"]: drawn,
        "fox.png": FOX,
        str(path): FOX,
        path.as_uri(): FOX,
        f"data:image/png;base64,{base64.b64encode(FOX).decode()}": FOX,
        LINKED: OWL,
        f" {LINKED}\n": OWL,
    }

    async def question(client: Client) -> dict[str, bytes]:
        found = {}
        for number, named in enumerate(ways):
            arguments = {"prompt": f"Hat {number}", "images": [named], **CHEAP}
            result_json(await client.call_tool("edit_image", arguments))
            found[named] = sent(where)[0]
        return found

    assert where.ask(question, protocol) == ways


def test_an_uploaded_file_is_passed_on(tmp_path: Path) -> None:
    """The id of a file the service has is no path, and goes to it as it is."""
    where = zoo(tmp_path)
    where.call("edit_image", prompt="A hat", images=["file-abcdef123456"])

    assert "file-abcdef123456" in str(where.sandbox.requests[0].body)


def test_attached_files_are_downloaded(tmp_path: Path) -> None:
    """Files the person attached come first, be they picture or mask."""
    where = zoo(tmp_path)
    attached = {"download_url": LINKED, "file_id": "f_1", "mime_type": "image/png", "more": 1}

    result_json(where.call("edit_image", prompt="Hat", attached_image=attached, images=["fox.png"]))
    assert sent(where) == [OWL, FOX]
    result_json(where.call("create_variations", attached_image=attached, **CHEAP))
    assert sent(where) == [OWL]
    result_json(where.call("refine_image", prompt="Hat", attached_image=attached, **CHEAP))
    assert base64.b64encode(OWL).decode() in str(where.sandbox.requests[-1].body)
    result_json(where.call("edit_image", prompt="Hat", images=["fox.png"], attached_mask=attached))
    assert [part.name for part in where.sandbox.requests[-1].files] == ["image", "mask"]


def test_every_picture_of_an_edit_is_sent_in_order(tmp_path: Path) -> None:
    """Several pictures of several kinds keep their places."""
    where = zoo(tmp_path)

    result_json(where.call("edit_image", prompt="Both", images=[LINKED, "fox.png", LINKED]))

    assert sent(where) == [OWL, FOX, OWL]


def test_a_box_becomes_a_mask(tmp_path: Path) -> None:
    """x, y, width, height: inside is transparent, outside is not."""
    where = zoo(tmp_path)
    result_json(
        where.call("edit_image", prompt="Hat", images=["fox.png"], mask_box=[8, 16, 24, 32])
    )

    part = next(each for each in where.sandbox.requests[0].files if each.name == "mask")
    mask: Any = gptimage.Image.from_bytes(part.data).to_pil()
    assert mask.getchannel("A").point(lambda alpha: 255 - alpha).getbbox() == (8, 16, 32, 48)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Pictures and other files beside the folders that are allowed."""
    (tmp_path / "secret.png").write_bytes(OWL)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "leak.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    (tmp_path / "in" / "notes.txt").write_text("a secret diary")
    (tmp_path / "in" / "fake.png").write_text("a secret diary")
    (tmp_path / "in" / "cut.png").write_bytes(picture(400, 400, form="png")[:-60])
    (tmp_path / "in" / "evil.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="../secret.png"/></svg>'
    )
    return tmp_path


BAD = (
    "../secret.png",
    "{folder}/secret.png",
    "file://{folder}/secret.png",
    "file://elsewhere/fox.png",
    "in/../../secret.png",
    "leak.png",
    "out/secret.png",
    "fox.png\0",
    "/proc/self/environ",
    "/proc/self/cwd/secret.png",
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "{folder}/spend.sqlite",
    "{folder}/store/index.sqlite",
    "notes.txt",
    "fake.png",
    "cut.png",
    "evil.svg",
    "missing.png",
    "img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015",
    "img_../../secret",
    "generated-images://../secret.png",
    "job_00000000000000000000000000000000",
    PLAIN,
    "https://127.0.0.1/owl.png",
    "https://[::ffff:127.0.0.1]/owl.png",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/owl.png",
    "https://user:hunter2@pictures.example.com/owl.png",
    "ftp://pictures.example.com/owl.png",
    "gopher://pictures.example.com",
    "data:text/html,<b>no</b>",
    "data:image/png;base64,AAAA",
    "data:image/png;base64," + "A" * LARGEST_DATA,
    "",
    " ",
)


@pytest.mark.parametrize("named", BAD, ids=[each[:40] for each in BAD])
def test_nothing_else_is_read_or_sent(secrets: Path, named: str) -> None:
    """What is no picture that may be read is refused before anything is sent, and not told."""
    where = zoo(secrets)
    named = named.replace("{folder}", str(secrets))
    for parameter in ("images", "mask", "markup"):
        wish: dict[str, Any] = {"prompt": "A hat", "images": ["fox.png"]}
        wish[parameter] = [named] if parameter == "images" else named
        before = len(where.sandbox.requests)
        answer = where.call("edit_image", **wish)

        # Proxies fill in every field: an empty mask or markup means that none was given.
        assert answer.is_error is bool(named or parameter == "images"), parameter
        assert "diary" not in text(answer)
        assert "hunter2" not in text(answer)
        if answer.is_error:
            assert len(where.sandbox.requests) == before
        else:  # without mask and without markup it is the same call, and in the cache
            assert len(where.sandbox.requests) == 1


def test_a_link_swapped_in_is_not_followed(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was judged is the file that is read, even if somebody swaps it meanwhile."""
    where, judge = zoo(secrets), os.path.lexists

    def swap(path: Any) -> bool:
        found = judge(path)
        if str(path).endswith("fox.png"):
            (secrets / "in" / "fox.png").unlink()
            (secrets / "in" / "fox.png").symlink_to(secrets / "secret.png")
        return found

    monkeypatch.setattr(os.path, "lexists", swap)
    answer = where.call("edit_image", prompt="A hat", images=["fox.png"])

    assert answer.is_error
    assert where.sandbox.requests == []


@contextmanager
def redirecting(target: str) -> Iterator[int]:
    """A web server on this machine that sends everybody elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", target)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_the_network_of_the_server_is_not_reached(tmp_path: Path) -> None:
    """A name that leads to this machine is refused before anything connects to it."""
    with redirecting("https://pictures.example.com/owl.png") as port:

        def lead_home(host: str, asked: int, **_: object) -> list[tuple[Any, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        where = server_fixture(tmp_path, fetch=gptimage.Fetch(resolver=lead_home))
        answer = where.call("edit_image", prompt="A hat", images=["https://evil.example.com/"])

    assert answer.is_error
    assert "not on the public internet" in text(answer)
    assert where.sandbox.requests == []


def test_web_addresses_can_be_switched_off(tmp_path: Path) -> None:
    """Without them nothing is downloaded, attached files included."""
    where = zoo(tmp_path, fetch_urls=False)
    attached = {"download_url": LINKED, "file_id": "f_1"}

    for wish in ({"images": [LINKED]}, {"attached_image": attached}):
        answer = where.call("edit_image", prompt="A hat", **wish)
        assert answer.is_error
        assert "GPTIMAGE_FETCH_URLS" in text(answer)
    assert ASKED == []


def test_without_input_folders_only_the_store_is_read(tmp_path: Path) -> None:
    """Nothing of the machine is open to begin with."""
    where = zoo(tmp_path, input_folders=())
    drawn = result_json(where.call("generate_image", prompt="A fox", **CHEAP))["images"][0]
    answer = where.call("edit_image", prompt="A hat", images=[str(tmp_path / "in" / "fox.png")])

    assert answer.is_error
    assert not where.call("edit_image", prompt="A hat", images=[drawn["path"]]).is_error


def test_a_call_that_drew_several_is_named_by_one_of_them(tmp_path: Path) -> None:
    """A handle with two pictures does not say which is meant; the ids do."""
    where = zoo(tmp_path)
    first = result_json(where.call("generate_image", prompt="A fox", n=2, **CHEAP))
    answer = where.call("edit_image", prompt="A hat", images=[first["handle"]])

    assert answer.is_error
    assert all(each["id"] in text(answer) for each in first["images"])


def test_a_call_that_is_still_drawing_is_no_source_yet(tmp_path: Path) -> None:
    """Its picture is not there; the refusal says how to wait for it."""
    where = zoo(tmp_path, hold=True, wait=0.01)

    async def question(client: Client) -> Any:
        first = result_json(await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP}))
        wish = {"prompt": "A hat", "images": [first["handle"]]}
        refused = await client.call_tool("edit_image", wish)
        where.held.go.set()
        return refused

    answer = where.ask(question)

    assert answer.is_error
    assert "view_image waits for it" in text(answer)


@pytest.mark.parametrize(
    ("tool", "wish", "named"),
    [
        ("edit_image", {"prompt": "A hat"}, "images"),
        ("edit_image", {"prompt": "A hat", "images": []}, "images"),
        ("edit_image", {"prompt": "A hat", "images": ["fox.png", "missing.png"]}, "images[1]"),
        ("edit_image", {"prompt": "A hat", "images": ["fox.png", " "]}, "images[1]"),
        ("create_variations", {}, "image"),
        ("refine_image", {"prompt": "A hat"}, "image"),
        (
            "edit_image",
            {"prompt": "A", "images": "fox.png", "mask": "fox.png", "mask_box": [0, 0, 1, 1]},
            "mask",
        ),
        ("edit_image", {"prompt": "A", "images": "fox.png", "mask_box": [0, 0, 0, 9]}, "mask"),
        ("edit_image", {"prompt": "A", "images": "fox.png", "mask_box": [60, 60, 9, 9]}, "mask"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, tool: str, wish: dict[str, Any], named: str
) -> None:
    """A call without its picture, or with two masks, is told which parameter is at fault."""
    where = zoo(tmp_path)
    answer = where.call(tool, **wish)

    assert answer.is_error
    assert f'"field": "{named}"' in text(answer)
    assert "it is a folder" not in text(answer)
    assert where.sandbox.requests == []


def test_a_conversation_goes_on_from_a_picture_or_a_response(tmp_path: Path) -> None:
    """By id, handle or response the service's memory is used; by path the picture is sent."""
    where = zoo(tmp_path)
    first = result_json(where.call("refine_image", prompt="A hat", image="fox.png", **CHEAP))
    previous = first["response_id"]

    for number, named in enumerate([first["images"][0]["id"], first["handle"], previous]):
        result_json(where.call("refine_image", prompt=f"Blue {number}", image=named, **CHEAP))
        assert where.sandbox.requests[-1].body["previous_response_id"] == previous
    assert "previous_response_id" not in where.sandbox.requests[0].body
    newest = where.store.history()[0]
    assert newest.tags
    parents = {record.parent for record in where.store.history()}
    assert first["images"][0]["id"] in parents


def test_a_copy_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    """Each picture is copied, nothing is replaced, and the answer says where the copies are."""
    where = zoo(tmp_path)
    wish = {"prompt": "A fox", "n": 2, "save_to": "zoo/fox.png", "format": "webp", **CHEAP}
    first = result_json(where.call("generate_image", **wish))
    again = result_json(where.call("generate_image", **wish))
    copies = [each["saved_to"] for each in (*first["images"], *again["images"])]

    out = tmp_path / "out" / "zoo"
    names = ["fox.webp", "fox-2.webp", "fox-3.webp", "fox-4.webp"]
    assert copies == [str(out / name) for name in names]
    for image in first["images"]:
        assert Path(image["saved_to"]).read_bytes() == where.store.open(image["id"]).data


@pytest.mark.parametrize("save_to", ["../fox", "{folder}/fox", "link/fox", "fox\0", "~/fox"])
def test_no_copy_is_written_elsewhere(tmp_path: Path, save_to: str) -> None:
    """A copy that may not be written is refused before anything is paid."""
    where = zoo(tmp_path)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    answer = where.call(
        "generate_image", prompt="A fox", save_to=save_to.replace("{folder}", str(tmp_path))
    )

    assert answer.is_error
    assert '"field": "save_to"' in text(answer)
    assert where.sandbox.requests == []


def test_without_output_folders_there_are_no_copies(tmp_path: Path) -> None:
    """The refusal names the variable, and where the pictures are anyway."""
    where = zoo(tmp_path, output_folders=())
    answer = where.call("generate_image", prompt="A fox", save_to="fox.png")

    assert answer.is_error
    assert "GPTIMAGE_OUTPUT_FOLDERS" in text(answer)
    assert where.sandbox.requests == []


def test_a_copy_that_fails_is_a_warning(tmp_path: Path) -> None:
    """The picture is paid and in the store; that its copy failed is told beside it."""
    where = zoo(tmp_path, hold=True)

    async def question(client: Client) -> Any:
        wish = {"prompt": "A fox", "save_to": "zoo/fox.png", **CHEAP}
        call = asyncio.ensure_future(client.call_tool("generate_image", wish))
        await where.held.arrived.wait()
        (tmp_path / "out" / "zoo").write_text("in the way")
        where.held.go.set()
        return result_json(await call)

    answer = where.ask(question)

    assert answer["status"] == "done"
    assert "a copy could not be written" in answer["warnings"][0]
    assert where.store.get(answer["images"][0]["id"])
