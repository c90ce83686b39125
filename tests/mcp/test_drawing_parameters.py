"""Every parameter of every tool that draws arrives at the service or the store, or is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
from mcp import Client
from mcp_types import Tool
from PIL import Image as Pil

from gptimage.sandbox import Sandbox
from gptimage.types import request as requests
from tests.mcp.harness import PROTOCOLS, ServerFixture, picture, result_json, server_fixture, text


NEWEST = "gpt-image-2.6-flare"
OLD = "gpt-image-1.5"
TOOLS = ("generate_image", "edit_image", "create_variations", "refine_image")

Seen = Callable[[ServerFixture, Any, Any], object]
"""What became of a value: of the server, the request the service saw, and the answer."""


def on_wire(name: str) -> Seen:
    """A field of the request; of a turn, a field of its image tool."""

    def seen(where: ServerFixture, request: Any, answer: Any) -> object:
        if request.path == "/responses":
            tool = request.body["tools"][0]
            return tool.get(name, request.body.get(name))
        return unfolded(request.body).get(name)

    return seen


def unfolded(form: Mapping[str, Any]) -> dict[str, Any]:
    """A form's ``svg[reasoning][effort]`` as the object it stands for."""
    found: dict[str, Any] = {}
    for key, value in form.items():
        *path, last = key.replace("]", "").split("[")
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


def files(name: str) -> Seen:
    """The files of a field, or of a turn the pictures it was given."""

    def seen(where: ServerFixture, request: Any, answer: Any) -> object:
        if request.path != "/responses":
            return [part.data for part in request.files if part.name in (name, f"{name}[]")]
        found = request.body["input"][0]["content"] if name == "image" else []
        sent = [each["image_url"] for each in found if each["type"] == "input_image"]
        if name == "mask":
            sent = [request.body["tools"][0]["input_image_mask"]["image_url"]]
        return [base64.b64decode(each.partition(",")[2]) for each in sent]

    return seen


def record(name: str) -> Seen:
    """What the store says of the picture."""

    def seen(where: ServerFixture, request: Any, answer: Any) -> object:
        return getattr(where.store.get(answer["images"][0]["id"]), name)

    return seen


def recorded(name: str) -> Seen:
    """What the store says was requested."""

    def seen(where: ServerFixture, request: Any, answer: Any) -> object:
        return where.store.get(answer["images"][0]["id"]).request.get(name)

    return seen


def failed_check(where: ServerFixture, request: Any, answer: Any) -> object:
    """What the warnings say of a check that no attempt passed."""
    found = next(each for each in answer["warnings"] if each.startswith("check"))
    return str(found).partition(":")[0]


def words(where: ServerFixture, request: Any, answer: Any) -> object:
    """The prompt, as it went out."""
    if request.path != "/responses":
        return request.body["prompt"]
    return request.body["input"][0]["content"][0]["text"]


FOX, OWL = picture(64, 64), picture(64, 64, color="red")


def dots() -> bytes:
    """Hints drawn on nothing."""
    file = io.BytesIO()
    drawing = Pil.new("RGBA", (64, 64), "#00000000")
    drawing.paste("red", (8, 8, 16, 16))
    drawing.save(file, "png")
    return file.getvalue()


HOLE = picture(64, 64, mode="RGBA", color="#00000000")

SAMPLES: Mapping[str, tuple[Any, dict[str, Any], Seen, Any]] = {
    # parameter: its value, what it needs beside it, where it is seen, what is seen there
    "prompt": ("A red fox", {}, words, "A red fox"),
    "model": ("gpt-image-2", {}, on_wire("model"), "gpt-image-2"),
    "n": (2, {}, on_wire("n"), 2),
    "size": ("1536x1024", {}, on_wire("size"), "1536x1024"),
    "quality": ("max", {}, on_wire("quality"), "max"),
    "background": ("opaque", {}, on_wire("background"), "opaque"),
    "format": ("webp", {}, on_wire("output_format"), "webp"),
    "compression": (55, {"format": "jpeg"}, on_wire("output_compression"), 55),
    "moderation": ("low", {}, on_wire("moderation"), "low"),
    "complexity": ("low", {"model": NEWEST}, on_wire("complexity"), "low"),
    "safety_identifier": ("user-7", {}, on_wire("safety_identifier"), "user-7"),
    "frame_count": (3, {"format": "gif", "model": NEWEST}, on_wire("frame_count"), 3),
    "frame_duration_ms": (90, {"format": "gif", "model": NEWEST}, on_wire("frame_duration_ms"), 90),
    "svg_model": (
        "gpt-6-luna",
        {"format": "svg", "model": NEWEST},
        on_wire("svg"),
        {"model": "gpt-6-luna"},
    ),
    "svg_effort": (
        "low",
        {"format": "svg", "model": NEWEST, "svg_model": "gpt-6-luna"},
        on_wire("svg"),
        {"model": "gpt-6-luna", "reasoning": {"effort": "low"}},
    ),
    "partial_images": (2, {}, on_wire("partial_images"), 2),
    "tags": (["zoo"], {}, record("tags"), "zoo"),
    "images": (["fox.png", "owl.png"], {}, files("image"), [FOX, OWL]),
    "image": ("owl.png", {}, files("image"), [OWL]),
    "more_images": (["owl.png"], {}, files("image"), [FOX, OWL]),
    "mask": ("hole.png", {}, files("mask"), 1),
    "mask_box": ([8, 8, 16, 16], {}, files("mask"), 1),
    "markup": ("dots.png", {}, files("markup"), 1),
    "input_fidelity": ("high", {"model": OLD}, on_wire("input_fidelity"), "high"),
    "outside": ("keep", {"mask_box": [8, 8, 16, 16]}, recorded("outside"), "keep"),
    "until": (["pixels=9x9"], {"tags": ["zoo"]}, failed_check, "check pixels failed"),
    "action": ("edit", {}, on_wire("action"), "edit"),
    "max_images": (3, {}, on_wire("max_tool_calls"), 3),
}

ELSEWHERE = {
    "refresh": "test_refresh_pays_again",
    "max_px": "test_the_preview_of_one_call",
    "save_to": "test_a_copy_is_written_where_it_was_asked_for",
    "attached_image": "test_attached_files_are_downloaded",
    "attached_mask": "test_attached_files_are_downloaded",
}
"""Parameters that do not go to the service as they are, and the test that shows each of them."""

USUAL: Mapping[str, dict[str, Any]] = {
    "generate_image": {"prompt": "A fox"},
    "edit_image": {"prompt": "A hat", "images": ["fox.png"]},
    "create_variations": {"image": "fox.png"},
    "refine_image": {"prompt": "A hat", "image": "fox.png"},
}


def still() -> datetime:
    """A day on which models answer that take ``input_fidelity``: none of them will for long."""
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


def zoo(folder: Path) -> ServerFixture:
    """A server with a few pictures, and a service that grants what is in preview."""
    service = Sandbox(previews=True, svg_model_selection=True, clock=still)
    made = server_fixture(folder, service, clock=still)
    for name, data in (
        ("fox.png", FOX),
        ("owl.png", OWL),
        ("hole.png", HOLE),
        ("dots.png", dots()),
    ):
        made.put(name, data)
    return made


def parameters(tool: str) -> set[str]:
    """What a tool takes, as it tells its clients, with what goes into ``advanced``."""
    return set(tools()[tool].input_schema["properties"]) - {"advanced"} | rare(tool)


def rare(tool: str) -> set[str]:
    """What a tool takes in ``advanced``, as it tells its clients."""
    words = tools()[tool].input_schema["properties"]["advanced"]["description"]
    return set(words.partition(": ")[2].split(", "))


def placed(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, the rare ones where they belong."""
    inside = {name: value for name, value in arguments.items() if name in rare(tool)}
    outside = {name: value for name, value in arguments.items() if name not in inside}
    return {**outside, "advanced": inside}


@cache
def tools() -> Mapping[str, Tool]:
    """Every tool, as clients see it."""

    async def listed(client: Client) -> list[Tool]:
        return (await client.list_tools()).tools

    with TemporaryDirectory() as folder:
        return {each.name: each for each in server_fixture(Path(folder)).ask(listed)}


WALK = [(tool, name) for tool in TOOLS for name in sorted(parameters(tool) - set(ELSEWHERE))]


def test_every_parameter_is_walked() -> None:
    """A new parameter cannot be added without a sample, or a test of its own."""
    names = set().union(*map(parameters, TOOLS))
    tests = "".join(each.read_text("utf-8") for each in Path(__file__).parent.glob("test_*.py"))

    assert names == set(SAMPLES) | set(ELSEWHERE)
    assert [test for test in ELSEWHERE.values() if f"def {test}(" not in tests] == []


@pytest.mark.parametrize(("tool", "name"), WALK)
def test_a_parameter_arrives(tmp_path: Path, tool: str, name: str) -> None:
    """Each parameter of each tool is found in the request that went out, or in the store."""
    value, beside, seen, expected = SAMPLES[name]
    where = zoo(tmp_path)
    answer = result_json(where.call(tool, **placed(tool, {**USUAL[tool], **beside, name: value})))

    found = seen(where, where.sandbox.requests[0], answer)

    assert as_sent(found, expected) == expected


@pytest.mark.parametrize("tool", TOOLS)
def test_a_rare_parameter_beside_the_object_counts_too(tmp_path: Path, tool: str) -> None:
    """Models forget the object; what they mean is clear, so it has its effect."""
    where = zoo(tmp_path)

    result_json(where.call(tool, **USUAL[tool], format="jpeg", compression=55))

    assert as_sent(SAMPLES["compression"][2](where, where.sandbox.requests[0], None), 55) == 55


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_wrong_inside_is_named(tmp_path: Path, tool: str) -> None:
    """A rare parameter that does not fit, or is none, is refused by its own name."""
    where = zoo(tmp_path)

    for wrong in ({"moderation": "none"}, {"moderatoin": "low"}):
        answer = where.call(tool, **USUAL[tool], advanced=wrong)
        assert answer.is_error
        assert f"advanced.{next(iter(wrong))}" in text(answer)
    assert where.sandbox.requests == []


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_can_be_called_with_everything_filled_in(tmp_path: Path, tool: str) -> None:
    """Converters make each parameter required: a model fills them with empty values."""
    where = zoo(tmp_path)
    empty: dict[str, Any] = {"string": "", "array": [], "object": {}, "boolean": False}
    schema = tools()[tool].input_schema["properties"]
    filled = {name: empty[each["type"]] for name, each in schema.items() if each["type"] in empty}
    filled |= {name: {"download_url": "", "file_id": ""} for name in filled if "attached" in name}

    inside: dict[str, Any] = {**dict.fromkeys(rare(tool), ""), "moderation": "low"}

    result_json(where.call(tool, **{**filled, **USUAL[tool]}))
    result_json(where.call(tool, **{**filled, **USUAL[tool], "advanced": inside}))

    assert len(where.sandbox.requests) == 2


def test_list_models_explains_what_is_rare(tmp_path: Path) -> None:
    """Every parameter that goes into ``advanced`` has its help, and nothing else has."""
    answer = zoo(tmp_path).call("list_models").structured_content
    assert answer

    assert answer["advanced"].keys() == set().union(*map(rare, TOOLS))
    assert [name for name, words in answer["advanced"].items() if len(words) < 20] == []


def as_sent(found: object, expected: object) -> object:
    """A value as it was asked for: forms are all text, and of masks only the number counts."""
    if isinstance(found, list):
        return len(found) if isinstance(expected, int) else found
    if isinstance(found, tuple):
        return expected if expected in found else found
    if isinstance(found, str) and not isinstance(expected, str):
        return json.loads(found)
    return found


def test_what_an_operation_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    """A parameter that does not fit the others is named in the refusal, and nothing is sent."""
    where = zoo(tmp_path)
    for extra in ({"format": "gif", "partial_images": 1}, {"background": "transparent", "n": 99}):
        answer = where.call("generate_image", prompt="A fox", **extra)
        assert answer.is_error
        assert next(iter(extra)) in text(answer) or "n" in text(answer)
    assert where.sandbox.requests == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arguments_nobody_knows_are_refused(tmp_path: Path, protocol: str) -> None:
    """What a tool does not take is not ignored: it is refused, with what it may have meant."""
    where = zoo(tmp_path)
    answer = where.call("generate_image", protocol, prompt="A fox", qualty="low", style="vivid")

    assert answer.is_error
    assert "qualty (did you mean quality?)" in text(answer)
    assert "style" in text(answer)
    assert where.sandbox.requests == []


def test_null_counts_as_left_out(tmp_path: Path) -> None:
    """Some clients fill in null for every parameter nobody named."""
    where = zoo(tmp_path)
    empty: dict[str, Any] = dict.fromkeys(
        parameters("edit_image") - {"prompt", "images", "refresh"}
    )

    result_json(where.call("edit_image", **USUAL["edit_image"], **empty))

    assert set(where.sandbox.requests[0].body) == {"model", "prompt"}


def test_one_picture_needs_no_brackets(tmp_path: Path) -> None:
    """A text where a list is meant is a list of one."""
    where = zoo(tmp_path)

    result_json(where.call("edit_image", prompt="A hat", images="fox.png", tags="zoo"))

    assert files("image")(where, where.sandbox.requests[0], None) == [FOX]


@pytest.mark.parametrize("text", ['{"subject": "fox"}', "null", "[1, 2]", "true", "3", '"fox"'])
def test_text_that_looks_like_json_stays_text(text: str, tmp_path: Path) -> None:
    """A prompt is what it is; only where a list is wanted, a list that came as text is read."""
    where = zoo(tmp_path)

    result_json(where.call("list_images", text=text))
    result_json(where.call("create_variations", prompt=text, image="fox.png"))
    assert text in str(where.sandbox.requests[-1].body["prompt"])
    result_json(where.call("edit_image", prompt=text, images='["fox.png"]'))
    assert text == where.sandbox.requests[-1].body["prompt"]


def test_an_object_that_comes_as_text_is_read(tmp_path: Path) -> None:
    """Some clients send objects as text; rare parameters beside it join what it holds."""
    where = zoo(tmp_path)

    result_json(
        where.call(
            "generate_image",
            prompt="A fox",
            format="jpeg",
            advanced='{"compression": 55}',
            moderation="low",
        )
    )

    body = where.sandbox.requests[0].body
    assert (body["output_compression"], body["moderation"]) == (55, "low")


@pytest.mark.parametrize("tool", TOOLS)
def test_schemas_are_flat_and_plain(tool: str) -> None:
    """No null, no default of nothing, no parameter without a manual, nothing else allowed."""
    found = tools()[tool]
    schema = found.input_schema

    plain = json.dumps(schema)
    assert [word for word in ("null", "anyOf", "$ref", "$defs") if word in plain] == []
    assert [name for name, each in schema["properties"].items() if not each["description"]] == []
    assert schema["additionalProperties"] is False
    assert set(schema.get("required", [])) <= {"prompt"}
    assert found.title
    assert found.icons
    assert len(found.description or "") > 60
    hints = found.annotations
    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint) == (False, False)
    assert (hints.idempotent_hint, hints.open_world_hint) == (False, True)
    assert found.output_schema is None


def test_attached_files_are_declared() -> None:
    """Clients that let people attach files are told which parameters take them."""
    declared = {name: (each.meta or {}).get("openai/fileParams") for name, each in tools().items()}

    assert declared["generate_image"] is None
    assert declared["edit_image"] == ["attached_image", "attached_mask"]
    assert declared["create_variations"] == ["attached_image"]
    assert declared["refine_image"] == ["attached_image", "attached_mask"]


def test_choices_are_the_library_s() -> None:
    """A choice the library learns is offered at once, because it is written down once."""
    properties = tools()["edit_image"].input_schema["properties"]
    kinds = {
        "quality": requests.Quality,
        "background": requests.Background,
        "format": requests.OutputFormat,
    }

    assert {name: tuple(properties[name]["enum"]) for name in kinds} == {
        name: get_args(kind) for name, kind in kinds.items()
    }


def test_fifty_calls_at_once_are_all_answered(tmp_path: Path) -> None:
    """Fifty different calls over one connection draw fifty pictures."""
    where = server_fixture(tmp_path, wait=3_600.0)  # images, on a slow machine, too

    async def many(client: Any) -> Any:
        calls = [
            client.call_tool(
                "generate_image",
                {"prompt": f"Fox {number}", "size": "1024x1024", "quality": "low"},
            )
            for number in range(50)
        ]
        return await asyncio.gather(*calls)

    answers = [result_json(each) for each in where.ask(many)]

    assert len({each["images"][0]["id"] for each in answers}) == 50
    assert len(where.sandbox.requests) == 50
    assert where.app.jobs.running == ()
