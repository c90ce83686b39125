"""What other providers are sent, and what their replies say about money."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage import (
    ApiError,
    Completed,
    ImageClient,
    InvalidRequestError,
    Ledger,
    ModerationError,
    ServerError,
)
from gptimage.budget import Billing
from gptimage.providers import provider
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply


def test_the_cost_of_a_stream_is_that_of_all_its_images() -> None:
    """OpenRouter states the cost of each image in the event that has it."""
    with ImageClient.sandbox(provider="openrouter", model="openai/gpt-image-2") as client:
        costs: list[Decimal] = []
        for n in (1, 2):
            event: Any = list(client.stream("A fox", n=n, size="640x384", quality="low"))[-1]
            assert isinstance(event, Completed)
            assert event.result.cost is not None
            costs.append(event.result.cost.usd)

    assert costs[1] == 2 * costs[0]


def test_openrouters_routing_is_sent() -> None:
    """Which of its providers may draw is a field of its own."""
    sandbox = Sandbox(provider="openrouter")
    routing = {"only": ["openai"], "allow_fallbacks": False}
    with ImageClient.sandbox(sandbox, model="openai/gpt-image-2") as client:
        client.generate("A fox", size="640x384", extra_body={"provider": routing})

    assert sandbox.requests[0].body["provider"] == routing


GEMINIS: dict[str, Any] = {
    "candidates": [
        {
            "content": {"parts": [{"text": "I draw no cheque that says insufficient funds."}]},
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 200},
}


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("gemini", GEMINIS, ServerError),
        ("openrouter", {"error": {"code": 502, "message": "Provider returned error"}}, ApiError),
        ("xai", {"error": {"message": "generation failed"}}, ApiError),
    ],
)
def test_an_error_inside_a_success_may_be_billed(
    name: Any, body: dict[str, Any], kind: type[ApiError], tmp_path: Path
) -> None:
    """Whatever words it quotes, no other model draws it, and the ledger has it as unknown."""
    sandbox = Sandbox(provider=name)
    headers = {"content-type": "application/json"}
    sandbox.fail_next(HttpReply(status=200, headers=headers, body=json.dumps(body).encode()))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    settings: Any = {"model": "openai/gpt-image-2"} if name == "openrouter" else {}
    with (
        ImageClient.sandbox(
            sandbox, fallbacks=["azure/gpt-image-2"], ledger=ledger, **settings
        ) as client,
        pytest.raises(kind, match="it may have been billed"),
    ):
        client.generate("A fox")

    assert [row.billing for row in ledger.rows()] == [Billing.UNKNOWN]


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("together", {"width": 64}),
        ("together", {"response_format": "url"}),
        ("xai", {"aspect_ratio": "1:1"}),
        ("xai", {"response_format": "url"}),
    ],
)
def test_a_field_that_the_library_sets_is_refused(name: Any, extra: dict[str, object]) -> None:
    """It would be overwritten in silence; without a size, a ratio of one's own is sent."""
    with (
        ImageClient.sandbox(provider=name, model="some/model") as client,
        pytest.raises(InvalidRequestError, match="set by the library"),
    ):
        client.generate("A fox", size="640x384", extra_body=extra)


@pytest.mark.parametrize(
    ("details", "cost"), [({"upstream_inference_cost": 0.04}, Decimal("0.042")), ({}, None)]
)
def test_a_key_of_ones_own_upstream_is_paid_as_well(
    details: dict[str, float], cost: Decimal | None
) -> None:
    """OpenRouter's ``cost`` is then its fee alone, and what the other bills is not in it."""
    usage = {"cost": 0.002, "is_byok": True, "cost_details": details}
    body = json.dumps({"created": 1, "data": [], "usage": usage}).encode()

    found = provider("openrouter").from_wire(HttpReply(status=200, body=body))

    stated = json.loads(found.body)["cost_usd"]
    assert (None if stated is None else Decimal(stated)) == cost


def test_an_image_that_xai_rejects_may_be_billed(tmp_path: Path) -> None:
    """Its error says that the image was generated, with HTTP 400."""
    body = b'{"code": "bad", "error": "Generated image rejected by content moderation."}'
    sandbox = Sandbox(provider="xai")
    sandbox.fail_next(HttpReply(status=400, body=body))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with (
        ImageClient.sandbox(sandbox, ledger=ledger) as client,
        pytest.raises(ModerationError) as caught,
    ):
        client.generate("A fox")

    assert caught.value.stage == "output"
    assert [row.billing for row in ledger.rows()] == [Billing.UNKNOWN]
