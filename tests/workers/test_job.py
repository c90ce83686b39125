"""A job travels as JSON, means the same at the other end, and is refused early when it is none."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ImageClient, InvalidRequestError, Size
from gptimage.workers import Job, JobResult
from gptimage.workers.job import JobRecord


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,79}", fullmatch=True)
STORED = "img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015"
REQUESTS = st.fixed_dictionaries(
    {"prompt": st.text(min_size=1).filter(str.strip)},
    optional={
        "n": st.integers(1, 10),
        "size": st.sampled_from(["1024x1024", "16:9", "landscape"]),
        "tags": st.lists(st.sampled_from(["hero", "é", "a b"]), max_size=2),
        "images": st.lists(
            st.sampled_from([STORED, "https://example.com/a.png", "file-abcdefgh", "data:,x"]),
            min_size=1,
            max_size=16,
        ),
        "extra_body": st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
    },
)


@given(IDS, REQUESTS)
def test_a_job_survives_the_queue(id: str, request: dict[str, Any]) -> None:
    """What comes out of JSON is the job that went in, and says the same request."""
    job = Job(id, request)

    arrived = Job.from_dict(json.loads(json.dumps(job.to_dict())))

    assert arrived == job
    assert arrived.text == job.text


def test_a_job_is_made_of_the_arguments_of_a_call() -> None:
    """`Job.of` takes what `generate` and `edit` take, and a template's recommendations."""
    client = ImageClient.sandbox()
    prompt = client.render("og_image", title="Launch day")

    job = Job.of(
        "a", prompt, size=(1200, 630), quality=None, tags="shop", mask=STORED, images=STORED
    )

    assert job.request["size"] == "1200x630"
    assert job.request["template"] == "og_image"
    assert job.request["quality"] == prompt.quality
    assert (job.request["images"], job.request["tags"]) == ([STORED], ["shop"])
    assert job.tag == "job:a"
    assert Job.of("a", "A fox", size=Size.parse("64x64")).request == {
        "prompt": "A fox",
        "size": "64x64",
    }


def test_the_order_of_names_does_not_matter() -> None:
    """Two writers of one request write the same job."""
    one = Job("a", {"prompt": "A fox", "n": 1, "tags": ["b", "a"], "quality": None})
    two = Job("a", {"tags": ("a", "b", "a"), "n": 1, "prompt": "A fox", "images": None})

    assert one.text == two.text


@pytest.mark.parametrize("id", ["", "a b", "/etc", "é", "-a", "a" * 81, None, 17, "a\n"])
def test_an_id_is_plain(id: Any) -> None:
    """An id that could not be a tag or a key is refused by name."""
    with pytest.raises(InvalidRequestError) as caught:
        Job(id, {"prompt": "A fox"})
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("prompt", {}),
        ("prompt", {"prompt": " "}),
        ("prompt", {"prompt": 3}),
        ("n", {"prompt": "A", "n": "2"}),
        ("n", {"prompt": "A", "n": True}),
        ("size", {"prompt": "A", "size": [1, 2, 3]}),
        ("svg", {"prompt": "A", "svg": "x"}),
        ("extra_body", {"prompt": "A", "extra_body": {"a": float("nan")}}),
        ("images", {"prompt": "A", "images": 3}),
        ("images", {"prompt": "A", "images": []}),
        ("images", {"prompt": "A", "images": [STORED] * 17}),
        ("images[1]", {"prompt": "A", "images": [STORED, b"png"]}),
        ("images[0]", {"prompt": "A", "images": ["fox.png"]}),
        ("images[0]", {"prompt": "A", "images": ["ftp://example.com/a.png"]}),
        ("mask", {"prompt": "A", "images": [STORED], "mask": "mask.png"}),
        ("mask", {"prompt": "A", "mask": STORED}),
        ("input_fidelity", {"prompt": "A", "input_fidelity": "low"}),
        ("tags", {"prompt": "A", "tags": 3}),
        ("tags", {"prompt": "A", "tags": [""]}),
        ("tags", {"prompt": "A", "tags": [str(number) for number in range(64)]}),
        ("partial_images", {"prompt": "A", "partial_images": 2}),
        ("refresh", {"prompt": "A", "refresh": True}),
        ("qualty", {"prompt": "A", "qualty": "low"}),
    ],
)
def test_what_is_wrong_is_named(field: str, request_: dict[str, Any]) -> None:
    """Everything a job cannot say is refused, and the error names the field."""
    with pytest.raises(InvalidRequestError) as caught:
        Job.from_dict({"id": "a", **request_})
    assert caught.value.field == field


@pytest.mark.parametrize("spec", [None, [], "order-17", {}])
def test_what_is_no_job_is_refused(spec: Any) -> None:
    """Anything may come out of a queue."""
    with pytest.raises(InvalidRequestError) as caught:
        Job.from_dict(spec)
    assert caught.value.field == "id"


def test_paths_are_taken_where_they_are_allowed() -> None:
    """A path means something on one machine only, so both ends must say so."""
    job = Job.of("a", "Night", ["fox.png"], mask="sky.png", paths=True)

    assert Job.from_dict(job.to_dict(), paths=True) == job
    with pytest.raises(InvalidRequestError, match="paths=True"):
        Job.from_dict(job.to_dict())


def test_a_misspelt_name_gets_advice() -> None:
    """The nearest name is suggested."""
    with pytest.raises(InvalidRequestError, match="did you mean quality"):
        Job("a", {"prompt": "A", "qualty": "low"})


def test_prompts_stay_out_of_reprs() -> None:
    """Jobs, entries and results are logged; prompts and messages are not."""
    job = Job("a", {"prompt": "secret words"})
    entry = JobRecord(id="a", request=job.text, state="failed", at=0.0, reason="secret words")
    result = JobResult.of(entry, now=0.0)

    assert "secret" not in f"{job!r} {entry!r} {result!r}"


def test_a_result_survives_the_queue() -> None:
    """A result is JSON, and money is exact."""
    result = JobResult(
        id="a",
        status="done",
        images=("img_1",),
        cost=Decimal("0.005930"),
        possible_cost=None,
        attempt=3,
        reason="why",
        retry_after=1.5,
        warnings=("cropped",),
    )

    assert JobResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    for wrong in ({}, {"id": "a", "status": "great"}, {"status": "done"}):
        with pytest.raises(ValueError, match="no result"):
            JobResult.from_dict(wrong)


RECORD_0_1 = (
    '{"at": 1795000000.5, "attempt": 2, "cost": null, "deaths": 1, "holder": "m:1:x", "id": "a", '
    '"images": [], "key": "g1:x", "possible_cost": "0.0131", "reason": "lost", "request": "{}", '
    '"retryable": false, "revision": 4, "state": "parked", "until": 0.0, "warnings": []}'
)


def test_a_record_of_0_1_is_read() -> None:
    """Job stores outlive the words of a version; what is written, 0.1.0 reads, too."""
    record = JobRecord.from_text(RECORD_0_1)

    assert (record.state, record.owner, record.crash_count) == ("needs_review", "m:1:x", 1)
    assert record.possible_cost == Decimal("0.0131")
    assert record.to_text() == RECORD_0_1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "lost"),
        ("images", "img_1"),
        ("attempt", "2"),
        ("possible_cost", 0.1),
        ("possible_cost", "NaN"),
        ("until", None),
        ("request", None),
    ],
)
def test_a_damaged_record_names_the_field(field: str, value: object) -> None:
    """Nothing is guessed where a wrong guess pays twice."""
    with pytest.raises(ValueError, match=field):
        JobRecord.from_text(json.dumps({**json.loads(RECORD_0_1), field: value}))


def test_a_result_of_0_1_is_read() -> None:
    """A result in a queue's backend may be older than its reader."""
    values = {"id": "a", "status": "dropped", "cost_usd": None, "possible_cost_usd": "0.5"}

    result = JobResult.from_dict(values)

    assert (result.status, result.possible_cost) == ("discarded", Decimal("0.5"))
