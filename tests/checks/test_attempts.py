"""Drawing until an image passes: every attempt is paid once, saved, entered and never lost."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image as pil

from gptimage import (
    ApiError,
    AsyncImageClient,
    BudgetExceededError,
    ConfigurationError,
    Image,
    ImageClient,
    InvalidRequestError,
    Mask,
    OutcomeUnknownError,
    StoreError,
)
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.checks import (
    AnyCheck,
    Attempts,
    CheckResult,
    Drift,
    Line,
    Margins,
    Palette,
    Pixels,
    Question,
    Transparent,
    Unlike,
    Words,
    max_question_cost,
    named_checks,
)
from gptimage.sandbox import Sandbox
from tests.factories import image


LOW: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
SVG: dict[str, Any] = {"model": "gpt-image-2.6-flare", "format": "svg"}
PRICE = Decimal("0.00589")
"""One such image, rounded."""


def passes_from(number: int) -> Callable[[Image], bool]:
    """A check that passes from the so many-th image on."""
    seen: list[Image] = []

    def look(image: Image) -> bool:
        seen.append(image)
        return len(seen) >= number

    return look


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Iterator[ImageClient]:
    with ImageClient.sandbox(
        sandbox,
        store=tmp_path / "store",
        cache=tmp_path / "cache",
        ledger=Ledger(tmp_path / "ledger.sqlite"),
    ) as client:
        yield client


def stored(client: ImageClient, tag: str | None) -> list[str]:
    """The ids in the store that have a tag, oldest first."""
    assert client.store is not None
    assert tag is not None
    return sorted(record.id for record in client.store.history(tag=tag))


def test_until_draws_until_an_image_passes(client: ImageClient, sandbox: Sandbox) -> None:
    """Each attempt is drawn anew, in spite of the cache, saved under one tag, and entered."""
    found = client.until("A fox", checks=[passes_from(3)], most=5, tags=["site"], **LOW)

    assert (found.passed, len(found), found.attempts.index(found.best)) == (True, 3, 2)
    assert [each.failed[0].name for each in found if not each.passed] == ["look", "look"]
    assert [each.id for each in found] == stored(client, found.tag) == stored(client, "site")
    assert stored(client, "chosen") == [found.best.id]
    assert client.ledger is not None
    assert client.ledger.summary().total.calls == len(sandbox.requests) == 3
    assert found.cost is not None
    assert client.ledger.spent() == found.cost.usd


def test_until_ends_with_the_best_when_none_passes(client: ImageClient) -> None:
    """The result says what each attempt failed; the one that passed most is the best."""
    checks: list[AnyCheck] = [passes_from(2), Transparent()]

    found = client.until("A fox", checks=checks, most=2, **LOW)

    assert (found.passed, found.stopped, len(found)) == (False, None, 2)
    assert found.best is found.attempts[1]
    assert [record.id for record in found.stored] == [found.attempts[at].id for at in (1, 0)]
    assert [each.reason for each in found.best.failed] == ["every pixel is opaque"]


def test_a_first_image_that_passes_is_the_only_one(client: ImageClient, sandbox: Sandbox) -> None:
    """It may come from the cache, too, and costs nothing then."""
    for _ in range(2):
        found = client.until("A fox", checks=[Pixels("1024x1024")], **LOW)

    assert (len(found), len(sandbox.requests)) == (1, 1)
    assert found.result.cached
    assert found.cost is not None
    assert found.cost.usd == 0


def test_best_of_draws_several_in_one_call(client: ImageClient, sandbox: Sandbox) -> None:
    """Four where no number is given; the best of those that fail as much has the best scores."""
    scores = iter([0.2, 0.9, 0.4, 0.1])

    def likeness(_: Image) -> CheckResult:
        return CheckResult(name="likeness", passed=False, reason="not alike", score=next(scores))

    found = client.best_of("A fox", checks=[likeness], **LOW)

    assert (len(found), len(sandbox.requests)) == (4, 1)
    assert found.best is found.attempts[1]
    assert found.image is found.result.images[1]
    assert stored(client, found.tag) == sorted(str(each.id) for each in found)


def test_an_edit_is_checked_like_a_new_image(client: ImageClient, sandbox: Sandbox) -> None:
    """With images to start from, both are edits."""
    fox = client.generate("A fox", **LOW).image

    found = client.best_of("In snow", fox, checks=[Pixels("1024x1024")], n=2, **LOW)

    assert (found.passed, len(found)) == (True, 2)
    assert sandbox.requests[-1].path == "/images/edits"


@pytest.mark.parametrize(
    ("options", "passed"), [({}, False), ({"outside": "keep"}, True)], ids=["changed", "put back"]
)
def test_drift_is_of_the_edit_that_is_drawn(options: dict[str, Any], passed: bool) -> None:
    """It takes the first image and the mask from the call, and what was put back passes."""
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    photo, mask = image(64, 64), Mask.from_box((8, 8, 24, 24))
    with ImageClient.sandbox(sandbox) as client:
        found = client.until(
            "A hat", photo, mask=mask, checks=[Drift()], most=2, size="same", **options
        )

    assert (passed, 1 if passed else 2) == (found.passed, len(found))


@pytest.mark.parametrize("size", [(320, 240), (1000, 667), (1023, 769), (1200, 630), (1024, 1024)])
@pytest.mark.parametrize(
    ("drift", "passed"), [(None, True), ({"repaint": 24}, False), ({"shift": 3}, False)]
)
def test_scaling_alone_is_no_drift(size: tuple[int, int], drift: Any, passed: bool) -> None:
    """What is drawn in a legal size and scaled back has changed only where something did."""
    with ImageClient.sandbox(Sandbox(draw="scene")) as client:
        photo = client.generate("A fox", size="1536x1024").image.fit(*size)
    mask = Mask.from_box((8, 8, 24, 24))
    with ImageClient.sandbox(Sandbox(draw="plain", drift=drift)) as client:
        found = client.until("A hat", photo, mask=mask, checks=[Drift()], most=1, size="same")

    assert (found.image.size, found.passed) == (size, passed)
    assert found.result.drift is not None
    assert (found.result.drift < 0.01) == passed


@pytest.mark.parametrize("outside", [None, "keep"])
def test_scaling_of_what_is_put_back_is_no_drift(outside: Any) -> None:
    """It is the original's pixels again, and not those of the original scaled twice."""
    with ImageClient.sandbox(Sandbox(draw="scene")) as client:
        photo = client.generate("A fox", size="1536x1024").image.fit(1000, 667)
    mask = Mask.from_box((8, 8, 24, 24))
    with ImageClient.sandbox(Sandbox(draw="plain", drift={"repaint": 24})) as client:
        found = client.until(
            "A hat", photo, mask=mask, checks=[Drift()], most=1, size="same", outside=outside
        )

    assert found.passed == (outside == "keep")


@pytest.mark.parametrize("checks", [[Drift()], {Drift()}, Drift(), [Pixels("9x9")]])
def test_open_files_are_read_once_for_all_attempts(checks: Any) -> None:
    """The second attempt has them, too, and drift is found in whatever holds the checks."""
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    drawn = pil.new("L", (64, 64))
    drawn.paste(255, (8, 8, 24, 24))
    photo, mask = (io.BytesIO(each.data) for each in (image(64, 64), Image.from_pil(drawn)))
    with ImageClient.sandbox(sandbox) as client:
        found = client.until("A hat", photo, mask=mask, checks=checks, most=2, size="same")

    assert (len(found), found.stopped, len(sandbox.requests)) == (2, None, 2)


def test_drift_of_what_has_no_mask_is_refused(client: ImageClient, sandbox: Sandbox) -> None:
    """Before anything is sent, whether it is named in a command or made in a program."""
    for checks in ([Drift()], named_checks(["drift=2%"])):
        for images in (None, image(64, 64)):
            with pytest.raises(InvalidRequestError, match="needs the image that was edited"):
                client.until("A hat", images, checks=checks, **LOW)
    share: Any = 0.02  # meant as most=
    with pytest.raises(InvalidRequestError, match="needs the image that was edited"):
        client.until(
            "A hat", image(64, 64), mask=Mask.from_box((8, 8, 24, 24)), checks=[Drift(share)], **LOW
        )

    assert sandbox.requests == []


@pytest.mark.parametrize(
    "check",
    [
        Transparent(),
        Words("OPEN"),
        Palette("white"),
        Margins(),
        Unlike(image(64, 64)),
        Drift(image(64, 64), Mask.from_box((8, 8, 24, 24))),
    ],
    ids=lambda check: check.name,
)
def test_pixels_of_an_svg_are_refused(
    client: ImageClient, sandbox: Sandbox, check: AnyCheck
) -> None:
    """Each check would fail itself on an image that is paid; no method sends anything."""
    calls: list[Callable[..., object]] = [client.until, client.best_of, client.max_cost]
    for call in calls:
        with pytest.raises(InvalidRequestError, match="it looks at pixels, and an svg has") as it:
            call("A fox", checks=[check], n=1, **SVG)
        assert (it.value.field, it.value.value) == ("checks", getattr(check, "name", None))
    assert sandbox.requests == []


def test_a_transparent_jpeg_is_refused(client: ImageClient, sandbox: Sandbox) -> None:
    """No attempt could pass, and each would be paid."""
    jpeg: Any = {"format": "jpg"}
    with pytest.raises(InvalidRequestError, match="transparent: a jpeg is opaque"):
        client.until("A fox", checks=[Transparent()], **jpeg, **LOW)
    assert sandbox.requests == []


def test_what_needs_no_pixels_checks_an_svg(client: ImageClient) -> None:
    """Its size, a reader of yours, a function and a question, which gets a still of it."""
    checks: list[AnyCheck] = [
        Pixels("1024x1024"),
        Words("OPEN", read=lambda _: [Line(text="Open")]),
        lambda image: image.format == "svg",
        Question("Is it a fox?"),
    ]

    assert client.until("A fox", checks=checks, **SVG).passed


def test_a_question_about_an_svg_needs_its_package(
    client: ImageClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it no still could be drawn for the model, and the svg would be paid by then."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)

    with pytest.raises(ConfigurationError, match=r"gptimage\[svg\]"):
        client.until("A fox", checks=[Question("Is it a fox?")], **SVG)
    assert sandbox.requests == []


def test_max_cost_includes_the_questions(client: ImageClient) -> None:
    """About each image of a call; a check that asks nobody costs nothing."""
    asked: list[AnyCheck] = [Question("Is it a fox?"), Pixels("9x9")]
    found = [client.max_cost("A fox", n=2, checks=asked[:end], **LOW) for end in (0, 2)]
    questions = max_question_cost(asked, 2, client.clock().date())

    assert found[0] is not None
    assert questions is not None
    assert found[1] == found[0] + questions


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(lambda _: 1 / 0, "division by zero"), (lambda _: "yes", "it returned 'yes'")],
)
def test_a_check_that_fails_itself_loses_no_image(
    client: ImageClient, broken: Any, reason: str
) -> None:
    """It counts as failed, with what it raised; the image is there and paid once."""
    found = client.until("A fox", checks=[broken], most=1, **LOW)

    (check,) = found.best.checks
    assert not check.passed
    assert reason in check.reason
    assert isinstance(check.error, Exception)
    assert found.image.size == (1024, 1024)


def test_a_check_that_cannot_look_ends_the_attempts(client: ImageClient) -> None:
    """It would see no more in the next image, which is paid, too."""
    found = client.until("A fox", checks=[lambda _: bool(1 / 0)], most=3, **LOW)

    assert (len(found), found.passed) == (1, False)
    assert isinstance(found.stopped, ZeroDivisionError)
    assert any("ended early" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("failure", "kind"), [("timeout", OutcomeUnknownError), ("quota", ApiError)]
)
def test_a_later_call_that_fails_keeps_the_images_before_it(
    client: ImageClient, sandbox: Sandbox, failure: Any, kind: type[Exception]
) -> None:
    """They come back with what ended the attempts, whose cost is then not known."""

    def fail_after(image: Image) -> bool:
        sandbox.fail_next(failure)
        return False

    found = client.until("A fox", checks=[fail_after], most=5, **LOW)

    assert len(found) == 1
    assert isinstance(found.stopped, kind)
    assert str(found.stopped) in found.warnings[-1]
    assert (found.cost is None) == (failure == "timeout")


def test_a_first_call_that_fails_is_an_error(client: ImageClient, sandbox: Sandbox) -> None:
    """There is no image to return."""
    sandbox.fail_next("quota")

    with pytest.raises(ApiError):
        client.until("A fox", checks=[passes_from(1)], **LOW)
    assert len(sandbox.requests) == 1


def test_images_that_could_not_be_saved_come_back(
    client: ImageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails in a later attempt ends the attempts; its paid image is among them."""
    store = client.store
    assert store is not None
    first = store.save

    def save(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(store, "save", broken)
        return first(*arguments, **more)

    def broken(*_: Any, **__: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "save", save)
    found = client.until("A fox", checks=[passes_from(3)], most=3, **LOW)

    assert [each.id is None for each in found] == [False, True]
    assert isinstance(found.stopped, StoreError)


def test_ctrl_c_during_a_check_carries_the_images() -> None:
    """Without a store only this call has them."""

    def interrupted(_: Image) -> bool:
        raise KeyboardInterrupt

    client = ImageClient.sandbox(Sandbox(draw="plain"))

    with client, pytest.raises(KeyboardInterrupt) as caught:
        client.until("A fox", checks=[interrupted], **LOW)

    assert caught.value.result.image.size == (1024, 1024)  # type: ignore[attr-defined]  # added


@pytest.mark.parametrize(("budget", "drawn"), [("0.0118", 2), (Decimal("0.0117"), 1), (1, 3)])
def test_a_budget_holds_for_all_attempts_together(
    sandbox: Sandbox, budget: Any, drawn: int
) -> None:
    """The next one is not sent where it could cross it; the client has no budget of its own."""
    with ImageClient.sandbox(sandbox) as client:
        found = client.until("A fox", checks=[passes_from(9)], budget=budget, **LOW)

    assert len(found) == len(sandbox.requests) == drawn
    assert isinstance(found.stopped, BudgetExceededError) == (drawn < 3)


def test_a_budget_too_small_for_the_first_sends_nothing(sandbox: Sandbox) -> None:
    """It is an error, as everywhere."""
    client = ImageClient.sandbox(sandbox)

    with client, pytest.raises(BudgetExceededError):
        client.best_of("A fox", checks=[passes_from(1)], budget="0.02", **LOW)
    assert sandbox.requests == []


def test_the_client_s_own_budget_counts_as_well(sandbox: Sandbox) -> None:
    """Both must have room, and what one refuses is not left reserved in the other."""
    own = Budget("0.007", per="total")
    with ImageClient.sandbox(sandbox, budget=own) as client:
        found = client.until("A fox", checks=[passes_from(9)], budget=1, **LOW)

    assert len(found) == 1
    assert own.remaining() == Decimal("0.007") - found.cost.usd  # type: ignore[union-attr]  # known


def test_a_question_passes_with_yes(client: ImageClient, sandbox: Sandbox) -> None:
    """Each answer is paid, entered beside the images, and stands in the result."""
    for words in ("No, it is a cat.", "Perhaps.", "Yes: red, with a white tip."):
        sandbox.answer_next(words)

    found = client.until("A fox", checks=[Question("Is it a fox?", name="fox")], **LOW)

    assert [each.checks[0].reason for each in found] == [
        "No, it is a cat.",
        "neither yes nor no: Perhaps.",
        "Yes: red, with a white tip.",
    ]
    assert [each.passed for each in found] == [False, False, True]
    assert client.ledger is not None
    assert {each.name: each.calls for each in client.ledger.summary(by="operation")} == {
        "generate": 3,
        "question": 3,
    }
    assert found.cost is not None
    assert client.ledger.spent() == found.cost.usd


def test_a_question_without_an_answer_is_a_finding(client: ImageClient, sandbox: Sandbox) -> None:
    """What it may have cost is not known; the image is kept."""

    def look(_: Image) -> bool:
        sandbox.fail_next("timeout")
        return True

    found = client.until("A fox", checks=[look, Question("Is it a fox?")], most=1, **LOW)

    assert not found.passed
    assert isinstance(found.best.checks[1].error, OutcomeUnknownError)
    assert found.cost is None


@pytest.mark.parametrize(
    "checks",
    [[], None, ["transparent"], [Transparent], [Question(" ")], [Question(cast("Any", 5))]],
)
def test_what_is_no_check_is_refused_before_anything_is_sent(
    client: ImageClient, sandbox: Sandbox, checks: Any
) -> None:
    """An image must not be paid for to find out."""
    with pytest.raises(InvalidRequestError, match="nothing was sent"):
        client.until("A fox", checks=checks)
    assert sandbox.requests == []


@pytest.mark.parametrize("model", [5, ""])
def test_a_model_that_is_no_name_is_refused_before_anything_is_sent(
    client: ImageClient, sandbox: Sandbox, model: Any
) -> None:
    """Each image would be paid for, and no question answered."""
    with pytest.raises(ConfigurationError, match="chat_model"):
        client.until("A fox", checks=[Question("A fox?", chat_model=model)])
    assert sandbox.requests == []


@pytest.mark.parametrize("provider", ["gemini", "xai"])
def test_a_question_that_nobody_could_answer_is_refused_before_anything_is_sent(
    provider: Any,
) -> None:
    """Gemini has conversations and no Responses API: every image would be paid for and fail."""
    with (
        ImageClient.sandbox(provider=provider) as client,
        pytest.raises(InvalidRequestError, match=r"questions about images need.*nothing was sent"),
    ):
        client.until("A fox", checks=[Question("Is it a fox?")])


@pytest.mark.parametrize("most", [0, 21, True, "3"])
def test_most_is_a_number_of_calls(client: ImageClient, most: Any) -> None:
    """Each of them costs."""
    with pytest.raises(InvalidRequestError, match="most="):
        client.until("A fox", checks=[passes_from(1)], most=most)


def test_a_budget_that_is_no_amount_is_refused(client: ImageClient) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="an amount in USD"):
        client.until("A fox", checks=[passes_from(1)], budget="much")


def test_check_looks_at_any_image(client: ImageClient, sandbox: Sandbox) -> None:
    """Nothing is drawn; only the question is sent."""
    fox = client.generate("A fox", **LOW).image

    found = client.check(fox.data, [Pixels("1024x1024"), Question("Is it a fox?")])

    assert [each.passed for each in found] == [True, True]
    assert sandbox.requests[-1].path == "/responses"


def test_both_clients_do_the_same(tmp_path: Path) -> None:
    """The awaited methods find what the blocking ones do."""

    async def run() -> tuple[Attempts, Attempts, tuple[CheckResult, ...]]:
        async with AsyncImageClient.sandbox(Sandbox(draw="plain"), store=tmp_path) as client:
            found = await client.until("A fox", checks=[passes_from(2)], budget=1, **LOW)
            best = await client.best_of("A fox", checks=[Transparent()], n=2, **LOW)
            return found, best, await client.check(found.image, [Question("Is it a fox?")])

    found, best, checks = asyncio.run(run())

    assert (len(found), found.passed) == (2, True)
    assert (len(best), best.passed) == (2, False)
    assert checks[0].passed


def test_attempts_are_json(client: ImageClient) -> None:
    """Everything a program needs to choose, without the images."""
    found: Any = client.until("A fox", checks=[Pixels("1024x1024")], **LOW).to_dict()

    assert found["passed"] is True
    assert found["attempts"][0]["checks"] == [
        {
            "name": "pixels",
            "passed": True,
            "reason": "it has 1024x1024",
            "score": 1.0,
            "cost_usd": "0",
        }
    ]
