"""Error bodies, OpenAI's and anybody's: the right kind, its message kept, no key in it."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from gptimage.providers.openai.errors import error_from_event, error_from_reply, has_error
from tests.factories import reply


USER = "image_generation_user_error"
REQUEST = "invalid_request_error"
SAFETY = (
    "Your request was rejected by the safety system. If you believe this is an error, contact us "
    "at help.openai.com and include the request ID req_1. safety_violations=[sexual]."
)
UNVERIFIED = (
    "Your organization must be verified to use the model `gpt-image-2`. Please go to: "
    "https://platform.openai.com/settings/organization/general and click on Verify Organization. "
    "If you just verified, it can take up to 15 minutes for access to propagate."
)
FAST = (
    "Rate limit reached for gpt-image-2 (for limit gpt-image) in organization org-1 on "
    "input-images per min: Limit 5, Used 5, Requested 1. Please try again in 12s."
)
QUOTA = "You exceeded your current quota, please check your plan and billing details."


def body(message: object, type: object = None, code: object = None, param: object = None) -> Any:
    """An error body as OpenAI writes it."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


# Status, body, kind, part of the message: the table of the service's errors.
SERVICE: list[tuple[int, Any, type[ApiError], str]] = [
    (400, body(SAFETY, USER, "moderation_blocked"), ModerationError, "safety system"),
    (400, body("no", REQUEST, "content_policy_violation"), ModerationError, "rephrase"),
    (400, body("no", REQUEST, "image_content_policy_violation"), ModerationError, "rephrase"),
    (400, body("no", None, "contentFilter"), ModerationError, "rephrase"),
    (
        400,
        body(
            "Invalid size '512x512'. Requested resolution is below the current minimum pixel "
            "budget.",
            USER,
            "invalid_value",
            "tools[0].size",
        ),
        BadRequestError,
        "minimum pixel budget",
    ),
    (
        400,
        body("Unknown parameter: 'response_format'.", REQUEST, "unknown_parameter"),
        BadRequestError,
        "response_format",
    ),
    (
        400,
        body("Transparent background is not supported for this model.", USER, "invalid_value"),
        BadRequestError,
        "Transparent",
    ),
    (
        400,
        body(
            "Invalid mask image format - mask size does not match image size",
            USER,
            "invalid_mask_image_format",
        ),
        BadRequestError,
        "mask size",
    ),
    (
        400,
        body("The model 'dall-e-3' does not exist.", USER, "invalid_value"),
        NotFoundError,
        "client.models()",
    ),
    (
        404,
        body("The model `x` has been deprecated, learn more here: y", REQUEST, "model_not_found"),
        NotFoundError,
        "deprecated",
    ),
    (404, body("no", REQUEST, "model_not_found"), NotFoundError, "client.models()"),
    (403, body(UNVERIFIED, REQUEST, None), OrganizationNotVerifiedError, "15 minutes"),
    (403, body("Country not supported", None, None), PermissionDeniedError, "country this machine"),
    (
        401,
        body("Incorrect API key provided", REQUEST, "invalid_api_key"),
        AuthenticationError,
        "KEY",
    ),
    (
        400,
        body("Billing hard limit has been reached", REQUEST, "billing_hard_limit_reached"),
        QuotaExceededError,
        "Billing",
    ),
    (429, body(QUOTA, "insufficient_quota", "insufficient_quota"), QuotaExceededError, "credit"),
    (429, body(QUOTA, "insufficient_quota", None), QuotaExceededError, "credit"),
    (429, body(QUOTA, "insufficient_quota", "429"), QuotaExceededError, "credit"),
    (429, body(FAST, "input-images", "rate_limit_exceeded"), RateLimitError, "Limit 5"),
    (429, body("slow down", None, None), RateLimitError, "fewer at once"),
    (
        500,
        body("Image generation failed", "image_generation_server_error", "image_generation_failed"),
        ServerError,
        "Image generation failed",
    ),
    (400, body("overloaded", "server_error", None), ServerError, "overloaded"),
    (500, body(None, None, None), ServerError, "HTTP 500 without a message"),
    (400, body(None, None, None), BadRequestError, "HTTP 400 without a message"),
]

# Bodies of other servers, which the official client reports without their text.
OTHERS: list[tuple[int, Any, type[ApiError], str]] = [
    (400, {"error": "prompt required"}, BadRequestError, "prompt required"),
    (500, {"error": "server_error", "message": "boom"}, ServerError, "server_error: boom"),
    (422, {"detail": "size must be WxH"}, BadRequestError, "size must be WxH"),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "too many"}]}, BadRequestError, "too many"),
    (
        404,
        [{"error": {"code": 404, "message": "not here", "status": "X"}}],
        NotFoundError,
        "not here",
    ),
    (404, {"error": {"code": "404", "message": "Resource not found"}}, NotFoundError, "Resource"),
    (
        413,
        b"<html><head><title>413</title></head><h1>Too large</h1></html>",
        BadRequestError,
        "413 Too",
    ),
    (400, {"errors": [{"reason": "because"}]}, BadRequestError, "because"),
    (400, {"title": "Bad", "status": 400}, BadRequestError, "Bad"),
    (400, {"error": ["one", "two"]}, BadRequestError, "two"),
    (400, "just text", BadRequestError, "just text"),
    (400, b"plain words", BadRequestError, "plain words"),
    (402, {"error": {"message": "no money", "code": 402}}, QuotaExceededError, "no money"),
    (429, {"error": "insufficient_quota"}, QuotaExceededError, "insufficient_quota"),
    (502, b"<style>p{}</style><script>x()</script><p>Bad &amp; gateway</p>", ServerError, "Bad"),
    (503, b"", ServerError, "HTTP 503"),
    (418, {}, BadRequestError, "HTTP 418"),
    (400, [], BadRequestError, "HTTP 400"),
    (400, None, BadRequestError, "HTTP 400"),
    (301, {"message": "moved"}, ApiError, "moved"),
]


@pytest.mark.parametrize(
    ("status", "sent", "kind", "words"), [*SERVICE, *OTHERS], ids=range(len(SERVICE) + len(OTHERS))
)
def test_every_body_becomes_its_error(
    status: int, sent: object, kind: type[ApiError], words: str
) -> None:
    """The kind follows from code, type, text and status, and the message survives."""
    error = error_from_reply(reply(sent, status=status))

    assert kind is type(error)
    assert words in str(error)
    assert (status, "req_1") == (error.status, error.request_id)
    assert "\n" not in str(error)
    assert "[request req_1]" in str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize(("status", "sent", "kind", "words"), SERVICE, ids=range(len(SERVICE)))
def test_what_the_service_said_is_kept(
    status: int, sent: Any, kind: type[ApiError], words: str
) -> None:
    """Code, type and parameter are there to be compared, the object as it was sent."""
    error = error_from_reply(reply(sent, status=status))
    said = sent["error"]

    assert said == error.body
    assert (said["code"], said["type"], said["param"]) == (error.code, error.type, error.param)


def test_moderation_says_where_and_why() -> None:
    """The stage and the categories come from the details."""
    details = {"moderation_stage": "output", "categories": ["sexual", "violence"]}
    sent = {
        "error": {"message": SAFETY, "code": "moderation_blocked", "moderation_details": details}
    }
    error = error_from_reply(reply(sent, status=400))

    assert isinstance(error, ModerationError)
    assert (error.stage, error.categories) == ("output", ("sexual", "violence"))


def test_the_wait_is_told() -> None:
    """How long to wait is an attribute and a part of the sentence."""
    error = error_from_reply(reply(body(FAST), status=429), 12.5)

    assert error.retry_after == 12.5
    assert "12.5 seconds" in str(error)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (
            {"type": "error", "error": {"code": "moderation_blocked", "message": "x"}},
            ModerationError,
        ),
        ({"type": "error", "code": "moderation_blocked", "message": "x"}, ModerationError),
        ({"type": "error", "error": {"type": USER, "message": "x"}}, BadRequestError),
        (
            {"type": "error", "error": {"type": "image_generation_server_error", "message": "x"}},
            ServerError,
        ),
        ({"error": {"code": "rate_limit_exceeded", "message": "x"}}, RateLimitError),
        ({"error": {"type": "insufficient_quota", "message": "x"}}, QuotaExceededError),
        ({"error": "x"}, ApiError),
        ({"type": "error", "error": None, "message": "x"}, ApiError),
    ],
    ids=range(8),
)
def test_errors_inside_streams(sent: object, kind: type[ApiError]) -> None:
    """Nested and flat frames alike; there is no status, so code and type decide."""
    error = error_from_event(sent, request_id="req_1", partials=())

    assert kind is type(error)
    assert "x" in str(error)
    assert (error.status, error.request_id) == (200, "req_1")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"error": {"message": "x"}}, True),
        ({"error": "x"}, True),
        ({"type": "error"}, True),
        ({"error": None, "data": []}, False),
        ({"error": {}}, False),
        ({"data": []}, False),
        ([], False),
        (None, False),
        ("error", False),
    ],
    ids=str,
)
def test_what_is_an_error(value: object, expected: bool) -> None:
    """An empty error field is none."""
    assert expected is has_error(value)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefgh12345678",
        "sk-proj-AbCd_efgh-12345678",
        "sess-abcdefgh12345678",
        "xai-abcdefgh12345678",
        "AIzaSyA1234567890abcdefghijklmnop",
        "Bearer abcdefgh12345678",
    ],
)
def test_a_key_is_not_repeated(secret: str) -> None:
    """Some servers echo the key; errors end up in logs."""
    error = error_from_reply(reply(body(f"Incorrect key: {secret}. Try again"), status=401))

    assert secret not in str(error)
    assert secret not in repr(error)
    assert "Incorrect key: …" in str(error)


def test_a_long_message_is_cut() -> None:
    """An error stays a line one can read."""
    error = error_from_reply(reply(body("word " * 10_000), status=400))

    assert len(str(error)) < 700


@pytest.mark.parametrize("piece", ["<", "<script", "</script", "model ", "sk-", "Bearer ", "&lt;"])
def test_megabytes_of_markup_take_no_time(piece: str) -> None:
    """The patterns look at the beginning only; this test would not end otherwise."""
    for sent in (body(piece * 200_000), (piece * 200_000).encode()):
        assert error_from_reply(reply(sent, status=500)).status == 500


def test_bottomless_bodies() -> None:
    """Nesting nobody can read is reported as the text it is."""
    for sent in (b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"error":' * 900 + b"1" + b"}" * 900):
        assert error_from_reply(reply(sent, status=400)).status == 400
    deep = b'{"error":{"message":' + b"[" * 900 + b"]" * 900 + b"}}"
    assert error_from_reply(reply(deep, status=400)).status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "param", "detail", "title", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@given(st.integers(300, 599), JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
@example(400, b'{"error":{"message":"\\ud800"}}')
@example(400, b"\xef\xbb\xbf{}")
def test_any_body_becomes_an_api_error(status: int, sent: bytes) -> None:
    """Whatever a server sends with an error status is an ApiError that can be shown."""
    error = error_from_reply(reply(sent, status=status))

    assert isinstance(error, ApiError)
    assert status == error.status
    assert len(str(error)) < 900
    assert pickle.loads(pickle.dumps(error)).args == error.args


@given(JSON)
def test_any_event_becomes_an_api_error(value: object) -> None:
    """Nor does an error inside a stream crash, whatever it is made of."""
    error = error_from_event(value, request_id=None, partials=())

    assert error.status == 200
    assert str(error)


AZURE_FILTER = {
    "error": {
        "code": "content_filter",
        "message": "The response was filtered due to the prompt triggering a policy.",
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "sexual": {"filtered": True, "severity": "high"},
                "violence": {"filtered": False, "severity": "safe"},
                "jailbreak": {"detected": True},
                "profanity": {"detected": True, "filtered": False},
            },
        },
    }
}


def test_azure_names_its_categories() -> None:
    """What its filter blocked is read from where Azure puts it, also behind a gateway."""
    wrapped = {
        "error": {
            "message": "litellm.ContentPolicyViolationError: AzureException - x",
            "code": "400",
            "provider_specific_fields": AZURE_FILTER["error"],
        }
    }
    for sent in (AZURE_FILTER, wrapped):
        error = error_from_reply(reply(sent, status=400))

        assert isinstance(error, ModerationError)
        assert error.categories == ("jailbreak", "sexual")


def test_categories_of_a_sentence() -> None:
    """A gateway keeps the sentence where it loses the details."""
    error = error_from_reply(reply(body(f"litellm: {SAFETY}", None, "400"), status=400))

    assert isinstance(error, ModerationError)
    assert error.categories == ("sexual",)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (f"litellm.BadRequestError: OpenAIException - {SAFETY}", ModerationError),
        ("Your request was rejected as a result of our safety system.", ModerationError),
        ("the prompt triggering Azure OpenAI's content management policy", ModerationError),
        ("litellm.ContentPolicyViolationError: x", ModerationError),
        ("OpenAIException - Billing hard limit has been reached", QuotaExceededError),
        (f"OpenAIException - {QUOTA}", QuotaExceededError),
        ("ExceededBudget: Budget has been exceeded!", QuotaExceededError),
        (f"OpenAIException - {UNVERIFIED}", OrganizationNotVerifiedError),
        ("Invalid size", BadRequestError),
    ],
)
def test_a_gateway_keeps_the_sentence_and_loses_the_code(
    message: str, kind: type[ApiError]
) -> None:
    """The class of an error comes from its text where the code is only the status again."""
    sent = {"error": {"message": message, "type": None, "param": None, "code": "400"}}

    assert type(error_from_reply(reply(sent, status=400))) is kind


@pytest.mark.parametrize(
    ("status", "sent", "words"),
    [
        (
            403,
            body("Country, region, or territory not supported", "request_forbidden", "unsupported"),
            "country this machine",
        ),
        (403, body("x", None, "unsupported_country_region_territory"), "country this machine"),
        (
            403,
            body(
                "Your resource has been temporarily blocked because we detected behavior that may "
                "violate our content policy.",
                None,
                "Forbidden",
            ),
            "support",
        ),
        (401, body("Your account has been deactivated", None, "account_deactivated"), "support"),
        (403, body("Access denied due to Virtual Network/Firewall rules."), "networks"),
        (403, "<html>Attention Required! | Cloudflare</html>", "firewall"),
        (403, "<html><title>Just a moment...</title></html>", "firewall"),
        (401, body("No such organization: org-x.", None, "mismatched_organization"), "OPENAI_ORG"),
        (404, body("x", None, "DeploymentNotFound"), "deployment"),
        (405, "<html>Method Not Allowed</html>", "POST into GET"),
        (407, "", "HTTPS_PROXY"),
        (413, "<html>413 Request Entity Too Large</html>", "smaller input images"),
        (429, body("Limit 0, Used 0, Requested 1. Please try again in 12s."), "limit is 0"),
        (
            404,
            body("The model `gpt-image-2-flare` does not exist", None, "model_not_found"),
            "did you mean gpt-image-2",
        ),
        (404, body("The model 'sd-xl' does not exist", None, "model_not_found"), "models()"),
        (403, body("You do not have access to this project"), "lack access to this model"),
    ],
)
def test_advice_fits_its_cause(status: int, sent: Any, words: str) -> None:
    """What to do follows from what the body says, not from the status alone."""
    error = error_from_reply(reply(sent, status=status))

    assert words in str(error)


def test_a_blocked_account_is_no_moderation() -> None:
    """No other prompt helps it, though its message speaks of the content policy."""
    sent = body("Your resource has been temporarily blocked: it may violate our content policy")

    assert type(error_from_reply(reply(sent, status=403))) is PermissionDeniedError
