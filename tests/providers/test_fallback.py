"""Another model is asked only after a failure that cannot have been billed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gptimage import (
    ApiError,
    AsyncImageClient,
    BadRequestError,
    Budget,
    ConfigurationError,
    ImageClient,
    Ledger,
    ModerationError,
    OutcomeUnknownError,
    RateLimitError,
    Retry,
    TransportError,
)
from gptimage.limits import Limits, WindowLimiter
from gptimage.sandbox import Sandbox, SandboxTransport
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.protocols import SANDBOX_URL


ONCE = Retry(attempts=1)
OTHER = "azure/gpt-image-2"


def client(sandbox: Sandbox, **more: Any) -> ImageClient:
    """A client of OpenAI's sandbox that may go to Azure's."""
    return ImageClient.sandbox(sandbox, retry=ONCE, fallbacks=[OTHER], **more)


@pytest.mark.parametrize("scenario", ["rate_limit", "overloaded", "quota", "billing"])
def test_what_cannot_have_been_billed_goes_on(scenario: Any, tmp_path: Path) -> None:
    """The result names the model that drew it and why; the ledger has both calls."""
    sandbox = Sandbox()
    sandbox.fail_next(scenario)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with client(sandbox, ledger=ledger) as own:
        result = own.generate("A fox", size="640x384")
        rows = ledger.rows()

    assert (result.model, result.image.size) == (OTHER, (640, 384))
    assert any("nothing was billed there" in each for each in result.warnings)
    assert sorted((row.model, row.outcome) for row in rows) == [
        (OTHER, "ok"),
        ("gpt-image-2.5-flare", "failed"),
    ]


@pytest.mark.parametrize("scenario", ["cut", "timeout", "unavailable", "server", "html", "empty"])
def test_an_unknown_outcome_ends_the_call(scenario: Any) -> None:
    """What may have been drawn and billed is not drawn once more elsewhere."""
    sandbox = Sandbox()
    sandbox.fail_next(scenario)
    with client(sandbox) as own, pytest.raises((OutcomeUnknownError, ApiError)) as caught:
        own.generate("A fox")

    assert "billed" in str(caught.value)


def test_an_unknown_try_before_a_refusal_ends_it_too() -> None:
    """With `Retry.unknown`, the refusal of the last try says nothing of the one before it."""
    sandbox = Sandbox()
    sandbox.fail_next("cut")
    sandbox.fail_next("rate_limit")
    retry = Retry(attempts=2, unknown=1, first_delay=0.0)
    with (
        ImageClient.sandbox(sandbox, retry=retry, fallbacks=[OTHER]) as own,
        pytest.raises(OutcomeUnknownError),
    ):
        own.generate("A fox")


@pytest.mark.parametrize("scenario", ["unauthorized", "moderation"])
def test_what_is_about_the_key_or_the_prompt_stays_an_error(scenario: Any) -> None:
    """Another service would hide a wrong key, and a refused prompt is refused."""
    sandbox = Sandbox()
    sandbox.fail_next(scenario)
    with client(sandbox) as own, pytest.raises(ApiError):
        own.generate("A fox")


def test_a_refused_prompt_goes_on_when_asked_for() -> None:
    """``fallback_moderated=True`` lets another service judge the prompt."""
    sandbox = Sandbox()
    sandbox.fail_next("moderation")
    with client(sandbox, fallback_moderated=True) as own:
        result = own.generate("A fox")

    assert result.model == OTHER


def test_a_refused_image_may_be_billed_and_ends_it() -> None:
    """What was drawn and then held back is not drawn elsewhere, whatever is asked for."""
    sandbox = Sandbox()
    sandbox.fail_next("moderation_output")
    with client(sandbox, fallback_moderated=True) as own, pytest.raises(ModerationError):
        own.generate("A fox")


def test_a_model_that_was_shut_down_goes_on() -> None:
    """Nothing is sent to the one that is gone."""
    sandbox = Sandbox()
    with client(sandbox, clock=lambda: datetime(2026, 12, 2, tzinfo=UTC)) as own:
        result = own.generate("A fox", model="gpt-image-1.5")

    assert (result.model, sandbox.requests) == (OTHER, [])
    assert any("gpt-image-1.5 was shut down" in each for each in result.warnings)


def test_a_host_that_is_down_goes_on() -> None:
    """A connection that was never made sent nothing."""

    class Down:
        def send(self, request: HttpRequest) -> HttpReply:
            del request
            raise TransportError("the service could not be reached, nothing was sent")

        def stream(self, request: HttpRequest) -> Any:
            del request
            raise TransportError("the service could not be reached, nothing was sent")

        def close(self) -> None:
            """Nothing to release."""

    with ImageClient(
        transport=Down(),
        base_url="https://sandbox.invalid/v1",
        retry=ONCE,
        fallbacks=[OTHER],
    ) as own:
        last: Any = list(own.stream("A fox"))[-1]
        result = own.generate("A fox")

    assert (last.result.model, result.model) == (OTHER, OTHER)


@pytest.mark.anyio
async def test_several_are_asked_in_turn() -> None:
    """One that cannot do what is asked is passed over; a stream goes on before its first event."""
    sandbox = Sandbox()
    sandbox.fail_next("rate_limit", times=2)
    names = ["xai/grok-imagine-image-2.0", OTHER]
    async with AsyncImageClient.sandbox(sandbox, retry=ONCE, fallbacks=names) as own:
        plain = await own.generate("A fox", background="opaque")
        events: list[Any] = [event async for event in own.stream("A fox")]

    assert plain.model == OTHER  # xAI takes no background
    assert events[-1].result.model == "xai/grok-imagine-image-2.0"


def test_the_first_failure_is_raised_when_all_fail() -> None:
    """The note says what came of the others."""
    sandbox = Sandbox()
    sandbox.fail_next("rate_limit", times=2)
    with (
        ImageClient.sandbox(sandbox, retry=ONCE, fallbacks=["gpt-image-2"]) as own,
        pytest.raises(RateLimitError) as caught,
    ):
        own.generate("A fox")

    assert any("gpt-image-2 did not draw it, either" in each for each in caught.value.__notes__)


def test_a_wrong_request_is_not_passed_on() -> None:
    """A refusal of the request itself is the caller's to read."""
    sandbox = Sandbox()
    body = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
    sandbox.fail_next(HttpReply(status=400, body=body))
    with client(sandbox) as own, pytest.raises(BadRequestError):
        own.generate("A fox")


def test_a_fallback_without_a_key_is_refused_at_once() -> None:
    """It would be missed only on the day it is needed."""
    with pytest.raises(ConfigurationError, match="Azure has no address"):
        ImageClient(api_key="sk-of-openai-0123456789", fallbacks=[OTHER])


@pytest.mark.parametrize("retired", [True, False])
def test_the_headers_of_a_call_stay_with_its_provider(retired: bool) -> None:
    """They may hold a secret of the provider that the call names, and no other one gets them."""
    sandbox, seen = Sandbox(), list[dict[str, str]]()
    sandbox.fail_next("rate_limit", times=2)

    class Noted(SandboxTransport):
        def send(self, request: HttpRequest) -> HttpReply:
            seen.append(dict(request.headers))
            return super().send(request)

    with ImageClient(
        transport=Noted(sandbox),
        base_url=SANDBOX_URL,
        retry=ONCE,
        fallbacks=["gpt-image-2", OTHER],
        clock=lambda: datetime(2026, 12, 2, tzinfo=UTC),
    ) as own:
        other, _ = own._config.services._others["azure"]
        own._config.services._others["azure"] = (other, Noted(Sandbox()))
        model = "gpt-image-1.5" if retired else "gpt-image-2.5-flare"
        result = own.generate("A fox", model=model, extra_headers={"x-secret": "one"})

    assert result.model == OTHER
    assert [each.get("x-secret") for each in seen] == [*["one"] * (len(seen) - 1), None]


@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_try_before_a_refusal_in_a_success_ends_it_too(stream: bool) -> None:
    """Gemini refuses a prompt with HTTP 200; the try before that may be billed all the same."""
    sandbox = Sandbox(provider="gemini")
    sandbox.fail_next("cut")
    sandbox.fail_next("moderation")
    with (
        ImageClient.sandbox(
            sandbox,
            retry=Retry(attempts=2, unknown=1, first_delay=0.0),
            fallbacks=[OTHER],
            fallback_moderated=True,
        ) as own,
        pytest.raises(ModerationError),
    ):
        own.generate("A fox") if not stream else list(own.stream("A fox"))


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_the_budget_refuses_is_passed_over(stream: bool) -> None:
    """What xAI's costs is not known: the next is asked, or the first failure is raised."""
    sandbox, budget = Sandbox(), Budget("1.00", per="day")
    sandbox.fail_next("rate_limit", times=2)

    def draw(*fallbacks: str) -> str:
        with ImageClient.sandbox(sandbox, retry=ONCE, fallbacks=fallbacks, budget=budget) as own:
            events: list[Any] = list(own.stream("A fox")) if stream else []
            result = events[-1].result if stream else own.generate("A fox")
            return str(result.model)

    assert draw("xai/grok-imagine-image-2.0", OTHER) == OTHER
    with pytest.raises(RateLimitError) as caught:
        draw("xai/grok-imagine-image-2.0")
    assert any("what this request may cost cannot be known" in n for n in caught.value.__notes__)


def test_a_service_that_is_full_slows_no_other() -> None:
    """Its refusal holds back requests to it alone, whichever client of the limiter sends them."""
    sandbox = Sandbox()
    sandbox.fail_next("rate_limit", retry_after=60.0)
    limiter = Limits(images_per_minute=5).limiter()
    assert isinstance(limiter, WindowLimiter)
    with client(sandbox, limits=limiter) as own:
        result = own.generate("A fox", size="640x384")
    waits = {name: limiter.of(name).acquire(5, None) for name in ("openai", "azure", "gemini")}

    assert result.model == OTHER
    assert {name: wait > 0 for name, wait in waits.items()} == {
        "openai": True, "azure": True, "gemini": False,
    }  # fmt: skip
