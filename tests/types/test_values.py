"""What comes back, as a value: it adds, iterates, saves, prints on a line, and becomes JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pytest

from gptimage import ConfigurationError, Cost, Edit, Image, ImageClient, Mask, Record, Result, Store
from gptimage.conversation import Turn
from gptimage.typing import Item


PROMPT = "a red fox"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "images")


@pytest.fixture
def client(store: Store) -> ImageClient:
    """A client of the sandbox with that store."""
    return ImageClient.sandbox(store=store)


@pytest.fixture
def result(client: ImageClient) -> Result:
    """Two stored images."""
    return client.generate(PROMPT, n=2, size="1024x1024", quality="low", tags=["animal"])


def cents(amount: str) -> Cost:
    """A cost of so many USD."""
    return Cost(usd=Decimal(amount), is_upper_bound=False)


# Money.


def test_costs_add_up() -> None:
    """A sum of costs is a cost, and begins with what `sum` begins with."""
    total = sum([cents("0.01"), cents("0.02")], Cost(usd=Decimal(0), is_upper_bound=False))

    assert (total, sum([cents("0.01"), cents("0.02")])) == (Decimal("0.03"), Decimal("0.03"))


def test_a_sum_may_be_less_where_a_part_may(result: Result) -> None:
    """One upper bound makes the sum one."""
    assert result.cost is not None
    assert (result.cost + cents("1")).is_upper_bound
    assert not (cents("1") + cents("1")).is_upper_bound


def test_a_sum_names_a_price_only_if_there_is_one(result: Result) -> None:
    """Free calls do not count; two rows are no row."""
    assert result.cost is not None
    assert result.cost.price == (result.cost + cents("0")).price
    assert (result.cost + cents("1")).price is None


@pytest.mark.parametrize(("spec", "text"), [("", "$0.0131"), (".2f", "0.01"), (".5f", "0.01310")])
def test_a_cost_formats(spec: str, text: str) -> None:
    """With dollars by itself, as a plain number in a format of yours."""
    assert text == format(cents("0.0131"), spec)


def test_a_cost_is_no_number_of_something_else() -> None:
    """Text is not added."""
    with pytest.raises(TypeError):
        cents("1") + "1"  # type: ignore[operator]  # what is tested


# A result and its images.


def test_a_result_is_a_sequence_of_images(result: Result) -> None:
    """Its length, its items and its iteration are those of its images."""
    assert len(result) == 2
    assert [*result] == [result[0], result[1]] == [*result.images]


def test_a_result_saves_every_image(result: Result, tmp_path: Path) -> None:
    """Each under its own name, twice under the same."""
    folder = tmp_path / "new" / "folder"

    paths = result.save(folder)

    assert [each.read_bytes() for each in paths] == [bytes(image) for image in result]
    assert paths == result.save(folder)


def test_an_image_is_bytes_base64_and_an_array(result: Result) -> None:
    """Whatever the next library takes."""
    image = result.image

    assert image.data == bytes(image)
    assert image == Image.open(f"data:image/png;base64,{image.base64}")
    assert numpy.asarray(image).shape == (1024, 1024, 3)


def test_a_palette_becomes_colours() -> None:
    """An array holds colours, not the numbers of a palette, and keeps transparency."""
    import PIL.Image

    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1])
    picture.info["transparency"] = 1

    found = numpy.asarray(Image.from_pil(picture))

    assert found.tolist() == [[[255, 0, 0, 255], [0, 255, 0, 0]]]


def test_an_edit_takes_a_result(client: ImageClient, result: Result) -> None:
    """All its images go in, and the new record names them as its sources."""
    edited = client.edit("At night", images=result)

    assert edited.stored[0].sources == tuple(image.sha256 for image in result)


def test_an_edit_takes_results_among_other_images(client: ImageClient, result: Result) -> None:
    """In a list each stands for its images, in order."""
    edited = client.edit("At night", images=[result.images[1], result])

    assert isinstance(edited.request, Edit)
    assert (result[1], *result) == edited.request.images


def test_an_edit_takes_a_result_of_another_client(result: Result) -> None:
    """A client without that store is given the images themselves."""
    assert ImageClient.sandbox().edit("At night", images=result, n=1).images


def test_a_turn_is_an_input_too(client: ImageClient) -> None:
    """What a conversation drew can be edited, and shown to another conversation."""
    turn = client.conversation().send(PROMPT)

    assert client.edit("At night", images=turn).images
    assert client.conversation().send("At night", images=turn).images


# JSON.


def values(client: ImageClient, result: Result) -> list[Result | Image | Record | Turn | Item]:
    """One of each."""
    item = next(iter(client.generate_many([PROMPT])))
    turn = client.conversation().send(PROMPT)
    return [result, result.image, result.stored[0], turn, item]


def test_every_value_becomes_json(client: ImageClient, result: Result) -> None:
    """The text holds what the dict does, and nothing json does not know."""
    for value in values(client, result):
        assert json.loads(value.to_json()) == json.loads(json.dumps(value.to_dict()))


def test_a_result_in_json_has_the_command_lines_names(result: Result) -> None:
    """Ids, and amounts as text."""
    found = result.to_dict()

    assert found["ids"] == [record.id for record in result.stored]
    assert result.cost is not None
    assert (found["cost_usd"], found["prompt"]) == (str(result.cost.usd), PROMPT)


def test_the_bytes_are_in_json_when_asked_for(client: ImageClient, result: Result) -> None:
    """Otherwise nothing of an image's size is in it."""
    short, whole = result.to_json(), json.loads(result.to_json(data=True))

    assert len(short) < 3_000
    assert [image.base64 for image in result] == [each["base64"] for each in whole["images"]]


def test_whether_the_bytes_are_in_json_is_true_or_false(
    client: ImageClient, result: Result
) -> None:
    """A text that means no is refused: it counted as yes."""
    no: Any = "no"
    for value in values(client, result):
        if not isinstance(value, Record):
            with pytest.raises(ConfigurationError, match="data='no': it must be True or False"):
                value.to_dict(data=no)


def test_an_error_becomes_json(client: ImageClient) -> None:
    """An item that failed says why, under the names of the command line."""
    item = next(iter(client.generate_many([{"prompt": PROMPT, "extra_body": {"size": "1x1"}}])))

    error = item.to_dict()["error"]

    assert item.error is not None
    assert error == {
        "type": type(item.error).__name__,
        "message": str(item.error),
        "request_id": getattr(item.error, "request_id", None),
    }


# On one line, and in a notebook.


def test_reprs_are_short_and_hold_no_prompt(client: ImageClient, result: Result) -> None:
    """One line each, for logs and the interpreter."""
    for value in values(client, result):
        assert len(repr(value)) < 250
        assert PROMPT not in repr(value)


def test_every_value_shows_itself_in_a_notebook(client: ImageClient, result: Result) -> None:
    """As an image, not as text."""
    for value in values(client, result):
        if isinstance(value, Image):
            shown = value._repr_mimebundle_()["image/png"]
        else:
            shown = value._repr_html_()
            assert "<img" in shown
        assert shown


def test_a_store_and_a_page_show_their_images(store: Store, result: Result) -> None:
    """Side by side, in the store's order."""
    shown = store._repr_html_()

    assert shown == store.history(12)._repr_html_()
    assert shown.count("<img") == len(result.stored)
    assert all(record.id in shown for record in result.stored)


def test_a_drawn_mask_shows_itself_and_boxes_are_text() -> None:
    """Boxes say nothing about the size of the image they belong to."""
    drawn = Mask.open(Image.from_pil(PIL.Image.new("RGBA", (4, 4))))

    assert list(drawn._repr_mimebundle_()) == ["image/png"]
    assert Mask.from_box((0, 0, 2, 2))._repr_mimebundle_() == {}


def test_a_record_whose_file_is_gone_shows_its_facts(result: Result, store: Store) -> None:
    """Markup in a prompt stays text."""
    record = result.stored[0]
    assert record.path is not None
    record.path.unlink()

    assert "<img" not in record._repr_html_()
    assert record.id in record._repr_html_()


# The store takes records and iterates.


def test_a_store_takes_records(store: Store, result: Result) -> None:
    """Wherever it takes an id."""
    record = result.stored[0]

    assert record == store.get(record)
    assert result.image == store.open(record)
    assert store.tag(record, "fox").tags == ("animal", "fox")
    assert store.pin(record).pinned
    assert not store.unpin(record).pinned
    assert store.lineage(record).ancestors == ()
    assert store.request(record).prompt == PROMPT
    store.delete(record)
    assert record not in store


def test_a_store_iterates_newest_first(store: Store, client: ImageClient) -> None:
    """Every image, page after page."""
    made = [client.generate(f"{PROMPT} {number}").stored[0] for number in range(3)]

    assert [*reversed(made)] == [*store]


def test_a_store_knows_what_it_holds(store: Store, result: Result) -> None:
    """By id or record; anything else is simply not in it."""
    record = result.stored[0]

    assert record in store
    assert record.id in store
    assert "img_20261120T114205123456_" + "0" * 32 not in store
    assert 7 not in store


def test_a_store_is_never_false(store: Store) -> None:
    """An empty one is a store all the same."""
    assert store


def test_an_index_names_one_image(result: Result) -> None:
    """The last is -1; there is no third."""
    assert result[-1] == result.images[1]
    with pytest.raises(IndexError):
        result[2]
