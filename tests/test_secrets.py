"""Secrets: masked in whatever leaves, by their shape or because they were given."""

from __future__ import annotations

import json
import logging
import pickle
import traceback

import attrs
import pytest

from gptimage import ConfigurationError, GptImageError, InvalidRequestError
from gptimage import secrets as module
from gptimage.errors import ApiError
from gptimage.limits import Limits
from gptimage.secrets import guard_logs, hide_prompt, remember, remember_url, scrub, scrub_error


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without remembered secrets."""
    monkeypatch.setattr(module, "_known", {})


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("key sk-abcdefgh12345678 x", "key … x"),
        ("b'Bearer sk-abc123def456\\n'", "b'Bearer …\\n'"),
        ("{'Authorization': 'Basic Ym9iOnA0c3M='}", "{'Authorization': 'Basic …'}"),
        ("http://bob:p4ss@host:80/v1", "http://…@host:80/v1"),
        ("redis://:hun/te@r2@h/0 is down", "redis://…@h/0 is down"),
        ("http://bob:p%40ss@proxy:3128", "http://…@proxy:3128"),
        ("https://token@host/x", "https://…@host/x"),
        ("https://h/x?email=a&api-key=123&z=1", "https://h/x?email=a&api-key=…&z=1"),
        ("api-key: 0123456789abcdef0123456789abcdef", "api-key: …"),
        ("http://h:8080/a@2x.png", "http://h:8080/a@2x.png"),
        ("set OPENAI_API_KEY, pass api_key=, or leave it", None),
        ("Basic authentication failed", None),
    ],
)
def test_shapes_of_secrets_are_masked(text: str, safe: str | None) -> None:
    """A secret is masked by its shape, and prose about secrets stays as it is."""
    assert scrub(text) == (text if safe is None else safe)


def test_a_remembered_secret_is_masked_in_every_spelling() -> None:
    """A key of any shape is masked once it was given, also percent-encoded."""
    remember("Azure/key+0123")
    remember_url("redis://me:p%40ssw0rd!@host/0")

    found = scrub("Azure/key+0123 Azure%2Fkey%2B0123 p%40ssw0rd! p@ssw0rd!")

    assert found == "… … … …"


def test_short_words_are_no_secrets() -> None:
    """A placeholder for a key does not blank the same word in a sentence."""
    remember("sandbox")
    remember("unusedkey")

    assert scrub("the sandbox needs no unusedkey") == "the sandbox needs no unusedkey"


def test_no_error_shows_a_secret() -> None:
    """Message, value and body of the library's own errors are masked, also after pickling."""
    remember("opaque-key-1234")
    error = InvalidRequestError("it was opaque-key-1234", field="x", value="opaque-key-1234")
    refusal = ApiError("no", status=401, body={"message": ["wrong: opaque-key-1234"]})

    assert (str(error), error.value) == ("it was …", "…")
    assert refusal.body == {"message": ["wrong: …"]}
    assert str(pickle.loads(pickle.dumps(error))) == "it was …"  # our own bytes


def test_the_chain_of_a_foreign_error_is_masked() -> None:
    """Causes, contexts, notes and attributes of somebody else's exceptions lose their secrets."""
    cause = ValueError("Illegal header value b'Bearer sk-abcdefgh12345678\\n'")
    cause.add_note("sent to http://bob:p4ssw0rd@host")
    cause.__cause__ = OSError(5, "sk-abcdefgh12345678", "/sk-abcdefgh12345678")
    wrapping = RuntimeError("no connection")
    wrapping.__cause__ = cause
    wrapping.message = "sk-abcdefgh12345678"  # type: ignore[attr-defined]  # as the SDK's errors have

    scrub_error(wrapping)
    try:
        raise GptImageError("failed") from wrapping
    except GptImageError as error:
        told = "".join(traceback.format_exception(error)) + repr(vars(wrapping))

    assert [word for word in ("sk-abc", "p4ssw0rd") if word in told] == []


def test_logs_of_others_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    """What the HTTP library logs of an address and of headers has no secret in it."""
    guard_logs()
    caplog.set_level(logging.DEBUG)

    logging.getLogger("httpx2").info("HTTP Request: POST %s", "http://bob:p4ssw0rd@host/v1")
    logging.getLogger("httpcore2.http11").debug("headers=Bearer sk-abcdefgh12345678")

    assert caplog.messages == ["HTTP Request: POST http://…@host/v1", "headers=Bearer …"]


def test_the_password_of_shared_limits_is_never_shown() -> None:
    """Neither the repr of limits nor the error of an unreachable server has it."""
    pytest.importorskip("redis")
    limits = Limits(images_per_minute=5, shared="redis://me:hunter2-secret@127.0.0.1:9/0")

    with pytest.raises(ConfigurationError) as caught:
        limits.limiter()

    told = repr(limits) + "".join(traceback.format_exception(caught.value))
    assert "hunter2-secret" not in told


@pytest.mark.parametrize("number", range(8))
def test_every_line_of_a_prompt_is_hidden(number: int) -> None:
    """As it is, on one line, as JSON and cut short: the longest form that is there is taken out."""
    prompt = f"A poster, number {number}\nof a launch\tthat nobody\n\nknows of yet"
    on_one_line = " ".join(prompt.split())
    for form in (prompt, on_one_line, json.dumps(prompt)[1:-1], repr(prompt)[1:-1]):
        error = ValueError(f"refused: {form}! {form[:40]}")
        hide_prompt(error, prompt)
        assert str(error) == "refused: <prompt>! <prompt>"


@pytest.mark.parametrize("quote", ["'{}'", '"{}"', "`{}`", "“{}”", r"\"{}\""])
def test_a_short_prompt_is_hidden_where_it_is_quoted(quote: str) -> None:
    """The same few letters elsewhere are words of the sentence, and stay."""
    error = ValueError(
        f"A fox cannot be drawn: {quote.format('A fox')} is refused, {'A fox'}es are"
    )
    hide_prompt(error, "A fox")
    assert (
        str(error) == f"A fox cannot be drawn: {quote.format('<prompt>')} is refused, A foxes are"
    )


def test_an_empty_prompt_hides_nothing() -> None:
    """Every text has it."""
    error = ValueError("'' is refused")
    hide_prompt(error, "")
    assert str(error) == "'' is refused"


def test_what_cannot_be_set_does_not_take_the_place_of_an_error() -> None:
    """A frozen exception is masked all the same, and a property of one stays as it is."""

    @attrs.frozen
    class Frozen(Exception):  # noqa: N818  # not raised
        why: str

    class Fixed(Exception):  # noqa: N818  # not raised
        @property
        def body(self) -> str:
            return "what the service says"

    said = "key sk-abcdefgh12345678 x, a red fox in snow"
    for error in (Frozen(said), Fixed(said)):
        scrub_error(error)
        hide_prompt(error, "a red fox in snow")

        assert str(error) == "key … x, <prompt>"
